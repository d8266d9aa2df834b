"""From the text of a value to what the program works with."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from typing import Any

import semver

from components.settings.setting import NotAllowed, Parser
from toolchain.numbers import whole

PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
IMAGE = re.compile(
    rf"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]+)?/)?{PART}(?:/{PART})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
"""A reference as container runtimes read it: host and port, path, tag, digest."""


def text(value: str, _: Any) -> str:
    return value


def switch(value: str, before: Any) -> bool:
    return bool(one_of(("true", "false"))(value, before) == "true")


def one_of(allowed: Collection[str]) -> Parser:
    def parse(value: str, _: Any) -> str:
        if value not in allowed:
            raise NotAllowed(value, f"allowed: {', '.join(allowed)}")
        return value

    return parse


def matching(pattern: re.Pattern[str], allowed: str) -> Parser:
    def parse(value: str, _: Any) -> str:
        if not pattern.fullmatch(value) or len(value) > 63:
            raise NotAllowed(value, allowed)
        return value

    return parse


def count(most: int, least: int = 1) -> Parser:
    def parse(value: str, _: Any) -> int:
        try:
            return whole(value, least, most)
        except ValueError as error:
            raise NotAllowed(value, str(error)) from None

    return parse


def version(value: str) -> semver.Version:
    try:
        return semver.Version.parse(value)
    except (ValueError, TypeError):
        raise NotAllowed(value, "a version such as 1.36.4, without a leading v") from None


def image(example: str) -> Parser:
    """Of a container image; empty for none."""

    def parse(value: str, _: Any) -> str:
        if value and not IMAGE.fullmatch(value):
            raise NotAllowed(value, f"a reference, such as {example}")
        return value

    return parse


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


def pairs(pattern: re.Pattern[str], allowed: str) -> Parser:
    """Switches, each as name=value."""

    def parse(value: str, _: Any) -> tuple[str, ...]:
        items = strings(value)
        names = [item.partition("=")[0] for item in items]
        for position, item in enumerate(items):
            if not pattern.fullmatch(item):
                raise NotAllowed(item, allowed)
            if names[position] in names[:position]:
                raise NotAllowed(item, f"{names[position]} is named twice")
        return tuple(items)

    return parse


def listed(items: Collection[object], last: str) -> str:
    """For people: a, b or c."""
    *most, end = map(str, items)
    return f"{', '.join(most)} {last} {end}"
