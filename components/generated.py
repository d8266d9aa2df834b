"""The parts of the project's files that are written from what the program declares.

`make docs` writes them; a unit test compares.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from components import stacks
from components.settings.model import GROUPS, SETTINGS
from components.settings.setting import declared_in


def config() -> str:
    """The keys of Pulumi.yaml."""
    lines = []
    for each in SETTINGS.values():
        kind = "array\n    items: {type: string}" if each.is_list else "string"
        lines += [
            f"  {each.key}:",
            f"    type: {kind}",
            f"    default: {json.dumps(each.default)}",
            f"    description: {json.dumps(each.description)}",
        ]
    return "\n".join(lines)


def settings() -> str:
    parts = []
    for heading, group in GROUPS.items():
        rows = [
            (f"`{each.key}`", f"`{json.dumps(each.default)}`", each.description)
            for each in declared_in(group).values()
        ]
        parts.append(f"### {heading}\n\n{_table(('key', 'default', 'meaning'), rows)}")
    return "\n\n".join(parts)


def list_of_stacks() -> str:
    """Each with a link to its module's page where it has one."""
    pages = {row.stack: Path(f"docs/modules/{row.stack}.md") for row in stacks.rows()}
    links = {stack: f"[{stack}]({page})" for stack, page in pages.items() if page.exists()}
    rows = [row._replace(stack=links.get(row.stack, row.stack)) for row in stacks.rows()]
    return _table(stacks.Row._fields, rows)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@dataclass(frozen=True)
class Part:
    """What stands in a file between two texts; end: "" for the end of the file."""

    file: Path
    begin: str
    end: str
    make: Callable[[], str]

    def renewed(self) -> str:
        """The file's text with this part as it has to be. Raises ValueError where there is none."""
        text = self.file.read_text(encoding="utf-8")
        before, begun, rest = text.partition(self.begin)
        _, ended, after = rest.partition(self.end) if self.end else ("", "end", "")
        if not (begun and ended):
            raise ValueError(f"{self.file} has no part '{self.begin.strip()}'")
        return f"{before}{begun}{self.make()}\n{self.end}{after}"

    @property
    def is_current(self) -> bool:
        return self.file.read_text(encoding="utf-8") == self.renewed()

    def write(self) -> None:
        self.file.write_text(self.renewed(), encoding="utf-8")


PARTS = (
    Part(Path("Pulumi.yaml"), "\nconfig:\n", "", config),
    Part(
        Path("docs/configuration.md"), "<!-- settings -->\n", "<!-- end of settings -->", settings
    ),
    Part(Path("README.md"), "<!-- stacks -->\n", "<!-- end of stacks -->", list_of_stacks),
)
