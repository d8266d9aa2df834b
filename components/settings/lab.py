"""Settings of the lab as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from components.modules.registry import modules
from components.settings.parsers import one_of, require_distinct, strings, switch
from components.settings.setting import NotAllowed, setting


def _modules(value: str, before: Any) -> tuple[str, ...]:
    ids = strings(value)
    if not ids:
        raise NotAllowed(ids, f"at least one of: {', '.join(modules())}")
    for identity in ids:
        one_of(modules())(identity, before)
    require_distinct(ids, "module")
    return tuple(ids)


@dataclass(frozen=True, kw_only=True)
class LabSettings:
    """modules: those that are wanted, without what they need."""

    modules: tuple[str, ...] = setting(
        "modules",
        default=("0", "1", "2", "3"),
        meaning="Ids of the modules to run; what they need is added. Quote each id.",
        parse=_modules,
    )
    strict: bool = setting(
        "strict",
        default="true",
        meaning="Whether a failed check fails the update. "
        "Results are saved and exported either way.",
        parse=switch,
    )
