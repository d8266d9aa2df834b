"""What the program declares, as tables and as parts of the project's files.

`make docs` writes these parts; a unit test compares. `make list` shows the stacks.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from components.modules.registry import closure
from components.settings.model import GROUPS, SETTINGS
from components.settings.setting import declared_in
from machine.configuration import read_configuration
from toolchain.layout import committed_stacks


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


class StackRow(NamedTuple):
    """A committed stack, for people who choose one.

    modules: with those that are needed; takes: on the embedded cluster.
    """

    stack: str
    modules: str
    shows: str
    needs: str
    takes: str


def stacks() -> list[StackRow]:
    found = []
    for stack in committed_stacks():
        modules = closure(json.loads(read_configuration(stack)["modules"]))
        ids, last = ", ".join(module.id for module in modules), modules[-1]
        shows = last.shows if stack == last.stack else f"modules {ids} (the default)"
        found.append(StackRow(stack, ids, shows, last.wants, f"{last.seconds} s"))
    return found


def list_of_stacks() -> str:
    """Each with a link to its module's page, where it has one."""
    return _table(StackRow._fields, [row._replace(stack=_linked(row.stack)) for row in stacks()])


def _linked(stack: str) -> str:
    page = Path(f"docs/modules/{stack}.md")
    return f"[{stack}]({page})" if page.exists() else stack


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

    def write(self) -> None:
        self.file.write_text(self.renewed(), encoding="utf-8")


PARTS = (
    Part(Path("Pulumi.yaml"), "\nconfig:\n", "", config),
    Part(
        Path("docs/configuration.md"), "<!-- settings -->\n", "<!-- end of settings -->", settings
    ),
    Part(Path("README.md"), "<!-- stacks -->\n", "<!-- end of stacks -->", list_of_stacks),
)
