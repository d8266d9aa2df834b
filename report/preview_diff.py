"""Plans of stacks as entries: what is created, changed, replaced, deleted, and by which fields.

Pure: JSON of previews in, text or JSON out. `operations/stack/preview_diff.py` makes the previews.
"""

import difflib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from typing import Any

import yaml
from deepdiff import DeepDiff
from deepdiff.helper import NotPresent, notpresent
from rich.text import Text

from report.plan import inputs, kind_and_name
from report.tables import console

OPERATIONS = {"create": "create", "update": "change", "replace": "replace", "delete": "delete"}
"""The engine's word for a step → ours. It has more, for the parts of a replacement."""
SIGNS = {"create": "+", "change": "~", "replace": "±", "delete": "-"}
COLOURS = {"create": "green", "change": "yellow", "replace": "magenta", "delete": "red"}
ABSENT = notpresent
"""Old value of a field that is added, new value of one that is removed."""
ANEW = ", anew"
"""Ends an assumed output that a change would make another one (operations/stack/stand_in.py)."""
PROGRAM = ("stdin.digest", "stdin.run")
"""Inputs of a program of ours that change with its files, so that it runs again."""
LONGEST = 100
"""Up to this many characters an old and a new value stand in the line of their field."""
MOST_LINES = 40
STATUSES = {
    "same": "no change",
    "new": "a new stack",
    "removed": "the stack is removed",
    "uncompared": "{reason}",
    "failed": "cannot be previewed: {reason}",
}
"""How a stack's heading says its status; of one that is changed the counts are enough."""


@dataclass(frozen=True)
class Field:
    """path: as Pulumi writes it, but items of a list by their name where they have one.

    forces: whether it is what makes a replacement necessary.
    """

    path: str
    old: Any
    new: Any
    forces: bool


@dataclass(frozen=True)
class Entry:
    """operation: create, change, replace or delete; reason: in words, where no field shows it."""

    operation: str
    resource: str
    reason: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Outcome:
    """What a change does to one stack.

    status: same, changed, new, removed; uncompared (the base cannot be previewed) or failed
    (this side cannot), both with a reason. unchanged: how many resources stay as they are.
    """

    status: str
    entries: tuple[Entry, ...] = ()
    unchanged: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Comparison:
    """base: what was asked for; commit: what that is; notes: what the reader must know."""

    base: str
    commit: str
    notes: tuple[str, ...]
    stacks: Mapping[str, Outcome]


# --- from the steps of a preview to entries ---------------------------------------------------


def outcome(steps: Iterable[dict[str, Any]]) -> Outcome:
    """What the engine plans, without default providers and components, whose children show it."""
    ours = [step for step in steps if _is_custom(step)]
    entries = sorted(
        (_entry(step) for step in ours if step["op"] in OPERATIONS),
        key=lambda entry: (list(SIGNS).index(entry.operation), entry.resource),
    )
    unchanged = sum(step["op"] == "same" for step in ours)
    return Outcome("changed" if entries else "same", tuple(entries), unchanged)


def removed(steps: Iterable[dict[str, Any]]) -> Outcome:
    """What goes with a stack, from the steps that would make it."""
    made = outcome(steps).entries
    return Outcome("removed", tuple(Entry("delete", entry.resource, "", ()) for entry in made))


def _is_custom(step: dict[str, Any]) -> bool:
    kind, name = kind_and_name(step["urn"])
    default = kind.startswith("pulumi:providers:") and name.startswith("default")
    state = step.get("newState") or step.get("oldState") or {}
    return bool(state.get("custom")) and not default


def _entry(step: dict[str, Any]) -> Entry:
    operation = OPERATIONS[step["op"]]
    resource = title(step["urn"])
    if operation in ("create", "delete"):
        return Entry(operation, resource, "", ())
    old, new = inputs(step["oldState"]), inputs(step["newState"])
    forcing = set(step.get("replaceReasons") or ())
    found = tuple(fields(old, new, forcing))
    reason = ""
    if operation == "replace" and not any(field.forces for field in found):
        reason = "with its provider" if "provider" in forcing else "with what it depends on"
    elif not found:
        reason = ", ".join(sorted(step.get("detailedDiff") or step.get("diffReasons") or ()))
    return Entry(operation, resource, reason, found)


def title(urn: str) -> str:
    """Such as "Pod module3-pod-1"; "Provider cluster" for a provider of Pulumi's."""
    kind, name = kind_and_name(urn)
    return f"{'Provider' if kind.startswith('pulumi:providers:') else kind.split(':')[-1]} {name}"


def fields(old: Any, new: Any, forcing: Iterable[str] = ()) -> list[Field]:
    """The differences of two values of plain JSON, sorted by path; forcing: paths with indices."""
    causes = [cause.replace('["', ".").replace('"]', "") for cause in forcing]
    compared = DeepDiff(_by_name(old), _by_name(new), view="tree", threshold_to_diff_deeper=0)
    found = []
    for level in chain.from_iterable(compared.values()):
        # An item of a list may have been at another index before.
        before = _locate(old, level.t1, level.path(output_format="list"))
        after = _locate(new, level.t2, level.path(output_format="list", use_t2=True))
        path, indexed, _ = before if after[2] is ABSENT else after
        forces = any(_within(indexed, cause) or _within(cause, indexed) for cause in causes)
        found.append(Field(path, before[2], after[2], forces))
    return sorted(found, key=lambda field: field.path)


def _by_name(value: Any) -> Any:
    """Lists of named objects by name: one that is inserted does not change those after it."""
    if isinstance(value, dict):
        return {key: _by_name(item) for key, item in value.items()}
    if isinstance(value, list):
        items = [_by_name(item) for item in value]
        names = _names(value)
        return dict(zip(names, items, strict=True)) if names else items
    return value


def _names(items: list[Any]) -> list[str]:
    """The names of objects in a list; empty unless each has one of its own."""
    names = [item.get("name") for item in items if isinstance(item, dict)]
    distinct = {name for name in names if isinstance(name, str)}
    return [str(name) for name in names] if len(distinct) == len(items) else []


def _locate(value: Any, compared: Any, keys: Sequence[str | int]) -> tuple[str, str, Any]:
    """The path of the keys as it is shown, the same with indices in place of names, and the value
    there. compared: what the comparison found there, which may be nothing."""
    path = indexed = ""
    if compared is ABSENT:
        return path, indexed, ABSENT
    for key in keys:
        if isinstance(value, list):
            index = _names(value).index(key) if isinstance(key, str) else key
            value = value[index]
            path, indexed = f"{path}[{key}]", f"{indexed}[{index}]"
        else:
            value = value[key]
            path += f'["{key}"]' if "." in str(key) else f".{key}"
            indexed += f".{key}"
    return path.lstrip("."), indexed.lstrip("."), value


def _within(path: str, whole: str) -> bool:
    return path == whole or path.startswith((f"{whole}.", f"{whole}["))


# --- for people -------------------------------------------------------------------------------


def text(comparison: Comparison) -> Text:
    """Everything as lines: what was compared, a block for stacks that change alike, the rest."""
    lines = [Text(f"compared with {comparison.base} ({comparison.commit})")]
    lines += [Text(note, style="yellow") for note in comparison.notes]
    for names, found in fold(comparison.stacks):
        lines += [Text(), *_block(names, found)]
    return Text("\n").join(lines)


def fold(stacks: Mapping[str, Outcome]) -> list[tuple[list[str], Outcome]]:
    """Stacks that change alike together; those that stay the same come last."""
    groups: list[tuple[list[str], Outcome]] = []
    for name, found in sorted(stacks.items(), key=lambda item: (item[1].status == "same", item[0])):
        change = replace(found, unchanged=0)
        alike = next((names for names, other in groups if other == change), None)
        if alike is None:
            groups.append(([name], change))
        else:
            alike.append(name)
    return groups


def _block(names: list[str], found: Outcome) -> list[Text]:
    counts = Counter(entry.operation for entry in found.entries)
    words = [f"{counts[operation]} to {operation}" for operation in SIGNS if counts[operation]]
    if status := STATUSES.get(found.status):
        words.insert(0, status.format(reason=found.reason))
    heading = Text(", ".join(names), style="bold")
    heading.append(f": {', '.join(words)}", style="not bold")
    return [heading, *chain.from_iterable(_entry_lines(entry) for entry in found.entries)]


def _entry_lines(entry: Entry) -> list[Text]:
    line = Text(f"  {SIGNS[entry.operation]} ", style=COLOURS[entry.operation])
    line.append(f"{entry.operation} {entry.resource}", style="default")
    reasons = [entry.reason] if entry.reason else []
    if any(field.path in PROGRAM for field in entry.fields):
        reasons.append("its program or manifests changed")
    if read := list(dict.fromkeys(filter(None, map(_read, entry.fields)))):
        reasons.append(f"reads {', '.join(read)}")
    if reasons:
        line.append(f": {'; '.join(reasons)}", style="default")
    rest = [field for field in entry.fields if field.path not in PROGRAM and not _read(field)]
    return [line, *chain.from_iterable(_field_lines(field) for field in rest)]


def _read(field: Field) -> str:
    """The resource whose output the field holds, if that output will be another one."""
    new = field.new
    return new.removesuffix(ANEW) if isinstance(new, str) and new.endswith(ANEW) else ""


def _field_lines(field: Field) -> list[Text]:
    forces = " (forces the replacement)" if field.forces else ""
    old, new = _lines(field.old), _lines(field.new)
    if max(len(old), len(new)) <= 1 and len("".join(old + new)) <= LONGEST:
        removed_or_added = "" if old and new else "removed " if old else "added "
        value = removed_or_added + " → ".join(old + new)
        return [Text(f"      {field.path}: {value}{forces}")]
    # The first two lines of a unified diff are for file names.
    diff = islice(difflib.unified_diff(old, new, n=1, lineterm=""), 2, None)
    shown = [line for line in diff if not line.startswith("@@")]
    if len(shown) > MOST_LINES:
        shown[MOST_LINES:] = [f" … {len(shown) - MOST_LINES} more lines; the JSON has them all"]
    styles = {"+": "green", "-": "red", " ": "dim"}
    lines = [Text(f"        {line}", style=styles[line[0]]) for line in shown]
    return [Text(f"      {field.path}:{forces}"), *lines]


def _lines(value: Any) -> list[str]:
    if value is ABSENT:
        return []
    if isinstance(value, str) and "\n" in value:
        return value.splitlines()
    written = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=sys.maxsize)
    return written.removesuffix("...\n").splitlines()


# --- for programs -----------------------------------------------------------------------------


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The shape that docs/stacks.md describes."""
    stacks = dict(sorted(comparison.stacks.items()))
    return asdict(replace(comparison, stacks=stacks), dict_factory=_without_absent)


def _without_absent(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """What JSON has of a dataclass: lists, and no old or new value where there is none."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in items
        if not isinstance(value, NotPresent)
    }


def show(comparison: Comparison, as_json_text: bool) -> None:
    if as_json_text:
        sys.stdout.write(json.dumps(as_json(comparison), indent=2) + "\n")
    else:
        console().print(text(comparison))
