"""Errors whose text is meant for the person at the terminal."""

from __future__ import annotations


class OperationError(Exception):
    """An operation failed; the text says what was found and what to do.

    found, mend: the two halves, where the one who raised it gave them apart.
    """

    def __init__(self, found: str, mend: str = "") -> None:
        super().__init__(f"{found}; {mend}" if mend else found)
        self.found = found
        self.mend = mend
