"""A checkout in which nothing is set up, on a machine with nothing on PATH."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.release_site import LabContext
from tests.unit.scripts import write_script
from tests.unit.toolchain.fakes import fake_go, fake_pulumi, make_tool
from toolchain import assemble, build, cache, download, layout
from toolchain.go import Go
from toolchain.images import Image
from toolchain.tools import BUILT, CHART, RELEASES, GoTool


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH. No pip either, so that nothing can ever reach the network."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.delenv("DRA_WORKSHOP_TOOLCHAIN", raising=False)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1e12))
    return tmp_path / "path"


@pytest.fixture
def checkout(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with two stacks, and nothing set up."""
    root = tmp_path / "checkout"
    root.mkdir()
    for stack in ("dev", "module0"):
        (root / f"Pulumi.{stack}.yaml").touch()
    monkeypatch.setattr(layout, "ROOT", root)
    monkeypatch.setattr(layout, "TOOLS", root / ".tools")
    monkeypatch.setattr(layout, "BIN", root / ".tools" / "bin")
    monkeypatch.setattr(layout, "PULUMI_HOME", root / ".tools" / "pulumi")
    write_script(tmp_path / "scripts" / "kubectl", "")
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path / "scripts"))
    return root


@pytest.fixture
def go(path: Path, tmp_path: Path) -> Go:
    """The Go on PATH; whatever it builds is a copy of a Pulumi."""
    source = tmp_path / "source"
    chart = source / "deployments" / "helm" / CHART
    chart.mkdir(parents=True)
    (chart / "Chart.yaml").write_text(f"name: {CHART}\n")
    write_script(source / "python" / "cmd" / "pulumi-language-python-exec", "")
    for edit in (edit for tool in BUILT for edit in tool.edits):
        (source / edit.path).parent.mkdir(parents=True)
        (source / edit.path).write_text(edit.old)
    pulumi = fake_pulumi(tmp_path / "built" / "pulumi")
    return fake_go(path, compile_=f'cp {pulumi} "$2"', module=f"""echo '{{"Dir": "{source}"}}'""")


@pytest.fixture
def tool(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GoTool:
    layout.BIN.mkdir(parents=True)
    return make_tool(tmp_path / "modules", monkeypatch)


@pytest.fixture
def published(site: LabContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabContext:
    """Every release is published; each program is a text that says so, but for a Pulumi."""
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(sys, "platform", "linux")
    pulumi = fake_pulumi(tmp_path / "released" / "pulumi").read_bytes()
    for release in RELEASES:
        contents = {name: f"released {name}".encode() for name in release.places}
        site.publish(release, contents | {"pulumi": pulumi})
    return site


@pytest.fixture
def assembled(go: Go, path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Image]:
    """What was assembled. Everything for C is there, and sources have what images take of them."""
    write_script(path / "gcc", "")
    write_script(path / "pkg-config", "")
    source = path.parent / "source"
    write_script(source / "hack" / "kubelet-plugin-prestart.sh", "")
    (source / "templates").mkdir()
    chart = source / "deployments" / "helm" / "dra-example-driver"
    chart.mkdir()
    (chart / "Chart.yaml").touch()
    (source / "LICENSE").touch()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("CC", raising=False)
    noted: list[Image] = []

    def assemble_(image: Image) -> None:
        assert all(build.built(tool) for tool in image.made_of), "built before"
        with cache.filled(image.cache_name, {}) as folder:
            (folder / image.file).write_text(image.reference)
        noted.append(image)

    monkeypatch.setattr(assemble, "assemble", assemble_)
    return noted
