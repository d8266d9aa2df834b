"""Errors whose text is meant for the person at the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from toolchain.errors import in_words


class LabError(Exception):
    """Something is not as it has to be: what was found, and what to do about it ("" if the text
    says that itself)."""

    def __init__(self, found: str, remedy: str = "") -> None:
        super().__init__(found)
        self.found = found
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.found}; {self.remedy}" if self.remedy else self.found


@contextmanager
def removed_on_failure(
    remove: Callable[[], None], reason: Callable[[], str] = lambda: ""
) -> Iterator[None]:
    """Where the block fails, remove what it made; its own error comes first in what is told.

    reason: the last words of what was started, for a person. It is asked before they are removed.
    """
    try:
        yield
    except BaseException as error:
        told = ""
        if isinstance(error, Exception):
            with suppress(OSError):  # of a full disk, or where nothing was made yet
                told = reason()
        try:
            remove()
        except (LabError, OSError) as left:
            told += f"\nand not everything that was made could be removed: {left}"
        if told and isinstance(error, (LabError, OSError)):
            words = in_words(error) if isinstance(error, OSError) else str(error)
            raise LabError(f"{words}{told}") from error
        raise
