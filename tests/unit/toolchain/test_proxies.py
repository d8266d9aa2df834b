"""What runs on this machine is never asked for at a proxy."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from toolchain import layout, proxies, stacks


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        ("", "", "localhost,127.0.0.1"),
        ("", "example.com", "example.com,localhost,127.0.0.1"),
        ("a.example", "b.example", "a.example,localhost,127.0.0.1"),
        ("localhost,a.example", "", "localhost,a.example,127.0.0.1"),
        ("*", "", "*"),
    ],
    ids=["none", "upper", "lower-wins", "there-already", "everything"],
)
def test_this_machine_is_added_to_what_the_user_has(
    lower: str, upper: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", lower)
    monkeypatch.setenv("NO_PROXY", upper)
    assert proxies.no_proxy_variables() == {"no_proxy": expected, "NO_PROXY": expected}
    os.environ.update(proxies.no_proxy_variables())
    assert proxies.no_proxy_variables() == {"no_proxy": expected, "NO_PROXY": expected}


@pytest.mark.parametrize("given", [{}, {"NO_PROXY": "a.example"}, {"no_proxy": "a.example"}])
def test_plain_pulumi_gets_it_from_the_environment_of_set_up(
    given: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "TOOLS", tmp_path)
    stacks.write_environment(own_plugins=True)
    done = subprocess.run(
        ["/bin/sh", "-uc", '. ./env; echo "$no_proxy $NO_PROXY"'],
        cwd=tmp_path,
        env={"PATH": "/bin"} | given,
        capture_output=True,
        text=True,
        check=True,
    )
    expected = ",".join([*given.values(), "localhost,127.0.0.1"])
    assert done.stdout == f"{expected} {expected}\n"
