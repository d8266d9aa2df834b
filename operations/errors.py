"""Errors whose text is meant for the person at the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from toolchain.errors import in_words


class OperationError(Exception):
    """An operation failed; the text says what was found and what to do.

    found, mend: the two halves, where the one who raised it gave them apart.
    """

    def __init__(self, found: str, mend: str = "") -> None:
        super().__init__(f"{found}; {mend}" if mend else found)
        self.found = found
        self.mend = mend


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
        except (OperationError, OSError) as left:
            told += f"\nand not everything that was made could be removed: {left}"
        if told and isinstance(error, (OperationError, OSError)):
            words = in_words(error) if isinstance(error, OSError) else str(error)
            raise OperationError(f"{words}{told}") from error
        raise
