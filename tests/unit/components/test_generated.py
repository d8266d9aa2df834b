"""What is written from the declarations is what stands in the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from components import generated
from components.generated import PARTS, Part


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.file.name)
def test_generated_parts_are_true(part: Part) -> None:
    assert part.file.read_text(encoding="utf-8") == part.renewed(), "run: make docs"


def test_only_the_generated_part_of_a_file_is_written_anew(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text("before\n<!-- a -->\nold\n<!-- end of a -->\nafter\n")
    part = Part(file, "<!-- a -->\n", "<!-- end of a -->", lambda: "new")
    part.write()
    assert file.read_text() == "before\n<!-- a -->\nnew\n<!-- end of a -->\nafter\n"
    assert file.read_text() == part.renewed()


@pytest.mark.parametrize("text", ["nothing", "<!-- a -->\nwithout end\n"])
def test_a_missing_part_is_an_error(text: str, tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"page.md has no part '<!-- a -->'"):
        Part(file, "<!-- a -->\n", "<!-- end of a -->", str).renewed()


def test_every_setting_is_described_with_what_it_is_for() -> None:
    assert '| `context` | `""` | ' in generated.settings()
    for key, only in (("context", "cluster=existing"), ("nodeImage", "cluster=kind")):
        (row,) = [row for row in generated.settings().splitlines() if f"| `{key}` |" in row]
        assert f"Only with {only}." in row
