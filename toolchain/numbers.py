"""Whole numbers as a person may write them: 0, 7, 20; not +7, 07, 7.0, other digits or blanks."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

WHOLE = re.compile(r"0|[1-9][0-9]{0,8}")


def whole(text: str, least: int = 0, most: int | None = None) -> int:
    """The number. Raises ValueError, which says what is allowed."""
    if not WHOLE.fullmatch(text) or not least <= (number := int(text)) <= (most or number):
        to = "" if most is None else f" to {most}"
        raise ValueError(f"a whole number from {least}{to}")
    return number


def option(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of a program's option that takes such a number."""

    def parsed(text: str) -> int:
        try:
            return whole(text, least, most)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"'{text}' is not {error}") from None

    return parsed
