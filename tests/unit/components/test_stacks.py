"""The list of stacks from which people choose."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from components import generated
from components.modules.registry import modules
from toolchain import layout

ROOT = layout.ROOT


def test_every_committed_stack_is_listed_with_what_it_needs() -> None:
    rows = {row[0]: row[1:] for row in generated.stacks()}
    assert sorted(rows) == layout.committed_stacks()
    for module in modules().values():
        ids, shows, requires, takes = rows[module.stack]
        assert ids.split(", ")[-1] == module.id
        assert (shows, requires, takes) == (module.shows, module.wants, f"{module.seconds} s")


@pytest.mark.parametrize(
    ("wanted", "listed"), [('["0", "1"]', "0, 1"), ('["2"]', "0, 1, 2")], ids=["named", "needed"]
)
def test_the_default_stack_is_listed_with_all_its_modules(
    wanted: str, listed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
    (tmp_path / "Pulumi.dev.yaml").write_text(f"config:\n  dra-workshop:modules: {wanted}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(layout, "ROOT", tmp_path)
    assert generated.stacks()[0][:3] == ("dev", listed, f"modules {listed} (the default)")
