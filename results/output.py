"""What a program of the graph prints, for which there is a limit; the rest goes to a file.

Pulumi's command plugin hands what a Command printed to its next run as one environment variable,
for which Linux allows 131,072 bytes: one that printed more can neither be updated nor deleted.
So long texts are cut, tables have few rows of single values, and the whole lies in
`.results/<stack>/raw/`, named by path and digest.
"""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from machine.files import write_text
from results import store

LIMIT = 32 * 1024
"""Bytes that a Command may print, of UTF-8."""
MOST_TEXT = 600
"""Characters of one text of a statement."""
MOST_ROWS = 28
"""As many as a comparison has cells, with some to spare in what may be printed."""
TEXTS = ("expected", "found", "remedy")


class OutputTooLong(Exception):
    """A fault of the program that would have printed it."""


def write(content: Mapping[str, Any] | str) -> None:
    """Print it. Raises OutputTooLong, having printed nothing."""
    text = content if isinstance(content, str) else json.dumps(content)
    if (size := len(text.encode())) > LIMIT:
        raise OutputTooLong(
            f"the output has {size} bytes, and may have {LIMIT}; please report this. "
            f"It begins: {text[:200]}"
        )
    sys.stdout.write(f"{text}\n")


def keep(stack: str, name: str, content: Any) -> dict[str, str]:
    """Write it to a file that is named by its digest; returns {"path", "sha256"}."""
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    path = store.RESULTS / stack / "raw" / f"{name}-{digest[:12]}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return {"path": str(path), "sha256": digest}


def shortened(stack: str, name: str, result: dict[str, Any]) -> dict[str, Any]:
    """The result of a check as it may be printed. A result that had to be cut names the file that
    has the whole as `raw`, as do its cut texts and shortened tables."""
    tables = result.get("benchmarks", {})
    short_tables = {key: _table(table) for key, table in tables.items()}
    long_texts = any(len(finding[key]) > MOST_TEXT for finding in result["checks"] for key in TEXTS)
    if short_tables == tables and not long_texts:
        return result
    place = keep(stack, name, result)
    for key, table in tables.items():
        if short_tables[key] != table:
            short_tables[key] |= {"raw": [place], "row_count": len(table["rows"])}
    checks = [
        finding | {key: _text(finding[key], place["path"]) for key in TEXTS}
        for finding in result["checks"]
    ]
    more = {"benchmarks": short_tables} if tables else {}
    return result | {"checks": checks, "raw": [place]} | more


def _text(text: str, path: str) -> str:
    """Cut between two items of a list, if it is one."""
    if len(text) <= MOST_TEXT:
        return text
    start = text[:MOST_TEXT]
    whole = start.rpartition(", ")[0] or start
    return f"{whole}, … ({len(text)} characters in all, in {path})"


def _table(table: dict[str, Any]) -> dict[str, Any]:
    """Rows of single values only; where there are many, some of them, the first and last too."""
    if "rows" not in table:
        return table
    rows: Sequence[dict[str, Any]] = table["rows"]
    if (count := len(rows)) > MOST_ROWS:
        rows = [rows[i * (count - 1) // (MOST_ROWS - 1)] for i in range(MOST_ROWS)]
    plain = [{k: v for k, v in row.items() if not isinstance(v, list | dict)} for row in rows]
    rest = {k: _without_lists(v) for k, v in table.items() if k != "rows"}
    return rest | {"rows": plain}


def _without_lists(value: Any) -> Any:
    """mps-memory-limit has a row beside its rows, of the neighbour."""
    if isinstance(value, dict):
        return {k: v for k, v in value.items() if not isinstance(v, list)}
    return value
