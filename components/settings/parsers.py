"""From the text of a value to what the program works with. Each raises NotAllowed."""

import json
import re
from collections.abc import Collection, Sequence
from typing import Any

import semver

from components.settings.setting import NotAllowed
from toolchain.numbers import whole

PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
IMAGE = re.compile(
    rf"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]+)?/)?{PART}(?:/{PART})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
"""A reference as container runtimes read it: host and port, path, tag, digest."""


def switch(value: str, _: Any = None) -> bool:
    return one_of(("true", "false"), value) == "true"


def one_of(allowed: Collection[str], value: str, _: Any = None) -> str:
    if value not in allowed:
        raise NotAllowed(value, f"allowed: {', '.join(allowed)}")
    return value


def matching(pattern: re.Pattern[str], allowed: str, value: str) -> str:
    if not pattern.fullmatch(value):
        raise NotAllowed(value, allowed)
    return value


def count(least: int, most: int, value: str, _: Any = None) -> int:
    try:
        return whole(value, least, most)
    except ValueError as error:
        raise NotAllowed(value, str(error)) from None


def version(value: str, _: Any = None) -> str:
    """The version of which "1.37.2" is an example, as it is written."""
    try:
        return str(semver.Version.parse(value))
    except (ValueError, TypeError):
        raise NotAllowed(value, "a version such as 1.37.2, without a leading v") from None


def image(example: str, value: str, _: Any = None) -> str:
    """Of a container; "" for none."""
    return value and matching(IMAGE, f"a reference, such as {example}", value)


def strings(value: str) -> list[str]:
    """An array of strings. Pulumi hands arrays over as JSON text."""
    try:
        items = json.loads(value)
    except json.JSONDecodeError:
        items = None
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise NotAllowed(value, 'a list of quoted strings, such as ["0", "3"]')
    return items


def require_distinct(items: Sequence[str], what: str) -> None:
    for position, item in enumerate(items):
        if item in items[:position]:
            raise NotAllowed(item, f"each {what} is named once")


def pairs(pattern: re.Pattern[str], allowed: str, value: str, _: Any = None) -> tuple[str, ...]:
    """Switches, each as name=value."""
    names: set[str] = set()
    items = strings(value)
    for item in items:
        name = matching(pattern, allowed, item).partition("=")[0]
        if name in names:
            raise NotAllowed(item, f"{name} is named twice")
        names.add(name)
    return tuple(items)


def listed(items: Collection[object], last: str) -> str:
    """For people: a, b or c."""
    *most, end = map(str, items)
    return f"{', '.join(most)} {last} {end}"
