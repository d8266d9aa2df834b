"""Errors whose text is meant for the person at the terminal."""

from __future__ import annotations


class OperationError(Exception):
    """An operation failed; the text says what was found and what to do."""
