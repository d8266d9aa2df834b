"""Wrong configuration ends in one line, before anything is made, and without a traceback."""

from __future__ import annotations

import pytest

from tests.checkout import Checkout


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("nodes", "0", "configuration key 'nodes': '0' is not allowed"),
        ("modules[0]", "99", "configuration key 'modules': '99' is not allowed; allowed: 0, 1"),
        ("gpusPernode", "2", "configuration key 'gpusPernode': '2' is not allowed; there is no"),
        ("mpsPercentages[0]", "101", "configuration key 'mpsPercentages': '101' is not allowed"),
        ("mpsSharePercentage", "half", "configuration key 'mpsSharePercentage': 'half' is not"),
        (
            "node",
            "real",
            "configuration key 'node': 'real' is not allowed; allowed: simulated, host",
        ),
        ("mpsMemoryLimit", "1", "configuration key 'mpsMemoryLimit': '1' is not allowed; a whole"),
        ("mpsMemoryLimit", "47Gi", "the GPU has 143771 MiB (NVIDIA H200)"),
    ],
)
def test_one_line_says_what_is_wrong(checkout: Checkout, key: str, value: str, said: str) -> None:
    stack = f"bad-{key.partition('[')[0].lower()}"
    checkout.pulumi("stack", "init", stack, "--no-select")
    checkout.configure(stack, key, value)
    done = checkout.preview(stack)
    assert done.code != 0
    assert said in done.text
    assert "Traceback" not in done.text
    assert not (checkout.folder / ".run").exists()


def test_a_stack_name_that_is_no_dns_label_is_refused(checkout: Checkout) -> None:
    checkout.pulumi("stack", "init", "My_Stack", "--no-select")
    done = checkout.preview("My_Stack")
    assert done.code != 0
    assert "'My_Stack' is not allowed; use small letters" in done.text
    assert "Traceback" not in done.text
