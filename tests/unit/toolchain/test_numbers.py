"""Numbers that a person gives are plain ones; others are refused by the programs themselves."""

from __future__ import annotations

import subprocess
import sys

import pytest

from toolchain.numbers import whole

NO_NUMBERS = [" 3 ", "+3", "-3", "٣", "03", "3.0", "1_0", "", "1e1", "9" * 5000]


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_what_only_looks_like_a_number_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="whole number"):
        whole(text)


def test_a_number_may_have_bounds() -> None:
    assert (whole("0"), whole("20"), whole("7", 7, 7)) == (0, 20, 7)
    with pytest.raises(ValueError, match=r"^a whole number from 1 to 16$"):
        whole("17", 1, 16)
    with pytest.raises(ValueError, match=r"^a whole number from 1$"):
        whole("0", 1)


@pytest.mark.parametrize(
    "command", [["bench", "--repeats"], ["operations", "logs", "--stack", "dev", "--lines"]]
)
@pytest.mark.parametrize("text", ["+3", "0"])
def test_programs_take_whole_numbers_only(command: list[str], text: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command, text], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"argument {command[-1]}: '{text}' is not a whole number from 1" in done.stderr
