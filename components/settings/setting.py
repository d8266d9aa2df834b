"""What a setting is: a key that is declared once, and from that read, checked and described."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any


class SettingsError(ValueError):
    """A configuration value that cannot be used; the text is one line for its author."""

    def __init__(self, key: str, value: object, allowed: str) -> None:
        shown = value if isinstance(value, str) else json.dumps(value)
        super().__init__(f"configuration key '{key}': '{shown}' is not allowed; {allowed}")


class NotAllowed(ValueError):
    """Raised by a parser, which does not know the key: the value, and what is allowed."""

    def __init__(self, value: object, allowed: str) -> None:
        super().__init__(value, allowed)
        self.value, self.allowed = value, allowed


Parser = Callable[[str, Any], Any]
"""From the text of a value and the settings that were read before it, by their field names.
A list is JSON text. Raises NotAllowed."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One key of the configuration.

    default: a text, or texts for a list; meaning: one or a few sentences for a person; only: the
    setting, as key=value, without which nothing but the default is allowed.
    """

    key: str
    default: str | tuple[str, ...]
    meaning: str
    parse: Parser
    only: str

    @property
    def is_list(self) -> bool:
        return not isinstance(self.default, str)

    @property
    def description(self) -> str:
        return f"{self.meaning} Only with {self.only}." if self.only else self.meaning

    def text(self, given: Mapping[str, str]) -> str:
        return given.get(self.key, json.dumps(self.default) if self.is_list else str(self.default))

    def read(self, given: Mapping[str, str], before: Any) -> Any:
        text = self.text(given)
        try:
            value = self.parse(text, before)
        except NotAllowed as error:
            raise SettingsError(self.key, error.value, error.allowed) from None
        needed, _, wanted = self.only.partition("=")
        other = needed and getattr(before, needed) != wanted
        if other and value != self.parse(self.text({}), before):
            raise SettingsError(self.key, text, f"only with {self.only}")
        return value

    def as_json(self, given: Mapping[str, str], value: Any) -> Any:
        """What was given: a list, a number, true or false where `value`, as it was read, is one,
        else a text."""
        text = self.text(given)
        if self.is_list:
            return json.loads(text)
        return value if isinstance(value, int) else text


def text(value: str, _: Any) -> str:
    return value


def setting(
    *, default: str | tuple[str, ...] = "", meaning: str, parse: Parser = text, only: str = ""
) -> Any:
    """The field of a group's dataclass that holds a setting; its key is the name in camel case."""
    return field(metadata={"default": default, "meaning": meaning, "parse": parse, "only": only})


def declared_in(group: Any) -> dict[str, Setting]:
    """The settings of a group's dataclass, by the names of their fields."""
    return {each.name: Setting(key=_key(each.name), **each.metadata) for each in fields(group)}


def _key(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
