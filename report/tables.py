"""How tables look in the terminal."""

import sys
from collections.abc import Collection, Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

LONGEST = 2000


def console() -> Console:
    """Where there is no terminal, lines are as long as they need to be."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else LONGEST)


def make_table(
    columns: Iterable[str],
    rows: Iterable[Sequence[str | Text]],
    right: Collection[str] = (),
    *,
    narrow: bool = False,
) -> Table:
    """right: the columns whose cells are flush right, as numbers are; narrow: with one space
    between two columns."""
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=narrow)
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in right else "left")
    for row in rows:
        table.add_row(*row)
    return table
