"""Quantities as Kubernetes writes them mean what Kubernetes' own client says."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

import pytest
from kubernetes.utils.quantity import parse_quantity

from kube.quantity import mebibytes, parse


@pytest.mark.parametrize(
    "text",
    ["0", "1", "8", "1k", "12M", "3G", "1T", "1P", "1E", "1Ki", "140Mi", "80Gi", "2Ti", "1Pi",
     "1Ei", "100m", "5u", "7n", "1.5Gi", "0.5", ".5", "1.", "1e3", "1E3", "2e-2", "+1", "-1k"],
)  # fmt: skip
def test_every_form_has_the_value_that_it_has_for_kubernetes(text: str) -> None:
    assert parse(text) == parse_quantity(text)


def test_a_thousand_devices_are_written_with_a_letter() -> None:
    assert parse("1k") == Decimal(1000)


@pytest.mark.parametrize("text", ["", "k", "1K", "1kB", "1 Gi", " 1", "1e", "1e3Gi", "x", "٣", "+"])
def test_what_is_no_quantity_is_an_error_that_names_it(text: str) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "mib"), [("80Gi", 81920), ("1Ki", 0), ("143771Mi", 143771), ("150754820096", 143771)]
)
def test_memory_is_counted_in_whole_mebibytes(text: str, mib: int) -> None:
    assert mebibytes(text) == mib


def test_it_does_not_load_the_kubernetes_client() -> None:
    """Every preview parses a quantity, and would wait for the client."""
    script = "import sys, kube.quantity; sys.exit('kubernetes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
