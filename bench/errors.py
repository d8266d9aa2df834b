"""What stops a benchmark."""


class BenchError(Exception):
    """Something that is measured did not work; the text says what and why."""
