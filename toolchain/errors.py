"""What can go wrong in set-up, in words for the person in front of it."""

from __future__ import annotations


class SetupError(Exception):
    """Set-up cannot go on; the message says what was found and what to do."""
