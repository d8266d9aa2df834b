"""Errors whose text is meant for the person at the terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from toolchain.errors import in_words


class LabError(Exception):
    """What was found, and what to do about it ("" if the text says that itself)."""

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
    """Where the block fails, remove what it made, and raise its error with all that is known.

    reason: why it failed, from the logs of what was started; it is read before they are removed.
    """
    try:
        yield
    except BaseException as error:
        details = ""
        if isinstance(error, Exception):
            with suppress(OSError):  # of a full disk, or where nothing was made yet
                details = reason()
        try:
            remove()
        except (LabError, OSError) as failure:
            details += f"\nand not everything that was made could be removed: {failure}"
        if details and isinstance(error, (LabError, OSError)):
            text = in_words(error) if isinstance(error, OSError) else str(error)
            raise LabError(f"{text}{details}") from error
        raise
