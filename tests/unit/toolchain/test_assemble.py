"""What goes into the images of a host node, from a machine that is made up."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import sysconfig
import tarfile
from collections.abc import Callable
from dataclasses import replace
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import SimpleNamespace

import pytest

from toolchain import assemble, build, cache, images, oci
from toolchain.errors import SetupError
from toolchain.images import (
    DRIVER,
    DRIVER_PROGRAMS,
    EXAMPLE,
    IMAGES,
    KIND_IMAGES,
    SANDBOX,
    WORKLOAD,
    Image,
)
from toolchain.tools import DRIVER_MODULE, DRIVER_PLUGIN

LIBRARIES = "usr/lib/x86_64-linux-gnu"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a C library, a Python of a shared library, and every program."""
    root = tmp_path / "machine"
    folder = root / LIBRARIES
    for name in (*assemble.C_LIBRARIES, "libffi.so.8", "ld-linux-x86-64.so.2"):
        write(folder / name)
    python = root / "opt" / "python"
    for path in (
        *("bin/python3.11", "lib/libpython3.11.so.1.0", "lib/python3.11/os.py"),
        *("lib/python3.11/json/__init__.py", "lib/python3.11/json/tests/test_json.py"),
        *("lib/python3.11/json/__pycache__/x.pyc", "lib/python3.11/__pycache__/os.pyc"),
        *("lib/python3.11/site-packages/pip.py", "lib/python3.11/test/test_os.py"),
        *("lib/python3.11/lib-dynload/_ctypes.cpython-311.so",),
        *("lib/python3.11/lib-dynload/_testcapi.cpython-311.so",),
        *("lib/python3.11/lib-dynload/_gdbm.cpython-311.so",),
    ):
        write(python / path)
    for name in DRIVER_PROGRAMS:
        write(root / "usr" / "bin" / name)
    monkeypatch.setattr(images, "SYSTEM_PATH", str(root / "usr" / "bin"))
    monkeypatch.setattr(images, "interpreter", lambda: python / "bin" / "python3.11")
    monkeypatch.setattr(assemble, "interpreter", lambda: python / "bin" / "python3.11")
    monkeypatch.setattr(assemble, "standard_library", lambda: python / "lib" / "python3.11")
    monkeypatch.setattr(sys, "base_prefix", str(python))
    monkeypatch.setattr(sysconfig, "get_config_var", lambda _: str(python / "lib"))
    monkeypatch.setattr(assemble, "_under_usr", under_usr_of(root))
    monkeypatch.setattr(assemble, "ldd", linked_on(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return root


def under_usr_of(root: Path) -> Callable[[Path], str]:
    real = assemble._under_usr
    return lambda path: real(Path("/") / path.relative_to(root))


def linked_on(folder: Path) -> Callable[[Path], SimpleNamespace]:
    """Reads no file: _ctypes needs libffi, _gdbm what is not there, python its own library."""

    def ldd(path: Path) -> SimpleNamespace:
        found: dict[str, Path | None] = {"libc.so.6": folder / "libc.so.6"}
        needed = ["libc.so.6"]
        if path.name.startswith("_ctypes"):
            found["libffi.so.8"] = folder / "libffi.so.8"
        if path.name.startswith("_gdbm"):
            found["libgdbm.so.6"] = None
        if path.name == "python3.11":
            found["libpython3.11.so.1.0"] = None
            needed.append("libpython3.11.so.1.0")
        return SimpleNamespace(
            interpreter=None if ".so" in path.name else str(folder / "ld-linux-x86-64.so.2"),
            needed=needed,
            libraries={n: SimpleNamespace(soname=n, realpath=p) for n, p in found.items()},
        )

    return ldd


def write(path: Path) -> None:
    """A program or library, which nobody reads, or a module."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"told = 1\n" if path.suffix == ".py" else b"\x7fELF" + path.name.encode())
    path.chmod(0o755)


def put_in_cache(image: Image) -> None:
    """What the image is made of, as if it had been built."""
    for tool in image.made_of:
        folder = cache.folder() / tool.cache_name
        for name in (*tool.programs, *tool.files):
            write(folder / name / "mps.tmpl.yaml" if name == "templates" else folder / name)


def members(image: Image) -> dict[str, tuple[tarfile.TarInfo, Path | bytes]]:
    put_in_cache(image)
    root, _ = assemble._RECIPES[image.name]()
    return root.members


@pytest.mark.usefixtures("machine")
def test_the_sandbox_is_one_program() -> None:
    assert list(members(SANDBOX)) == ["pause"]


@pytest.mark.usefixtures("machine")
def test_a_workload_finds_python_its_library_and_its_modules() -> None:
    found = members(WORKLOAD)
    assert found["usr/local/bin/python3"][0].linkname == "python3.11"
    assert "usr/local/lib/python3.11/json/__init__.py" in found
    assert "usr/local/lib/python3.11/lib-dynload/_ctypes.cpython-311.so" in found
    assert f"{LIBRARIES}/libpython3.11.so.1.0" in found, "where the loader looks by itself"
    assert f"{LIBRARIES}/libffi.so.8" in found, "ctypes needs it"
    assert f"{LIBRARIES}/ld-linux-x86-64.so.2" in found


@pytest.mark.usefixtures("machine")
def test_a_workload_has_no_tests_and_no_module_that_this_machine_cannot_import() -> None:
    unwanted = re.compile(r"test|site-packages|_gdbm")
    assert [path for path in members(WORKLOAD) if unwanted.search(path)] == []


def bytecode() -> dict[str, bytes]:
    """Path in the workload image → content."""
    found = members(WORKLOAD)
    return {path: bytes(found[path][1]) for path in sorted(found) if path.endswith(".pyc")}


@pytest.mark.usefixtures("machine")
def test_every_module_of_a_workload_is_compiled_and_nothing_of_this_machines_own_bytecode() -> None:
    tag = sys.implementation.cache_tag
    assert list(bytecode()) == [
        f"usr/local/lib/python3.11/__pycache__/os.{tag}.pyc",
        f"usr/local/lib/python3.11/json/__pycache__/__init__.{tag}.pyc",
    ]
    assert bytecode() == bytecode(), "the same every time"


@pytest.mark.usefixtures("machine")
def test_bytecode_is_used_without_a_look_at_the_source(tmp_path: Path) -> None:
    path, content = next(iter(bytecode().items()))
    compiled = tmp_path / "image" / path
    compiled.parent.mkdir(parents=True)
    compiled.write_bytes(content)
    source = compiled.parent.with_name("os.py")
    source.write_text("told = 'compiled again'\n")  # a pod's has another age, too
    spec = importlib.util.spec_from_file_location("told_by", source)
    assert spec is not None
    loader = spec.loader
    assert isinstance(loader, SourceFileLoader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    assert module.told == 1
    assert b"/usr/local/lib/python3.11/os.py" in content, "no path of this machine"


def test_a_module_that_cannot_be_compiled_is_told(machine: Path) -> None:
    (machine / "opt/python/lib/python3.11/os.py").write_text("told = \n")
    with pytest.raises(SetupError, match=r"(?s)workload:1: .*os\.py.*SyntaxError: invalid syntax"):
        members(WORKLOAD)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("image", [WORKLOAD, DRIVER], ids=lambda image: image.name)
def test_an_image_has_what_drivers_libraries_and_hooks_rest_on(image: Image) -> None:
    found = members(image)
    assert {f"{LIBRARIES}/{name}" for name in assemble.C_LIBRARIES} <= found.keys()
    assert found["lib64"][0].linkname == "usr/lib64"
    assert found["etc"][0].isdir()
    passwd = found["etc/passwd"][1]
    assert isinstance(passwd, bytes)
    assert [line.split(":")[:3] for line in passwd.decode().splitlines()] == [
        ["root", "x", "0"],
        ["nobody", "x", "65534"],
    ]


@pytest.mark.usefixtures("machine")
def test_the_driver_has_what_its_chart_scripts_and_templates_call() -> None:
    found = members(DRIVER)
    for name in (
        *("gpu-kubelet-plugin", "nvidia-cdi-hook", "kubelet-plugin-prestart.sh", "sh"),
        "webhook",
        *DRIVER_PROGRAMS,
    ):
        assert f"usr/bin/{name}" in found
    assert "templates/mps.tmpl.yaml" in found
    assert "driver-root" not in found, "prestart makes a link of that name"


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("image", "user"),
    [(SANDBOX, "65534:65534"), (WORKLOAD, "65534:65534"), (DRIVER, "0:0")],
    ids=["pause", "workload", "driver"],
)
def test_images_run_as_nobody_but_for_the_driver(image: Image, user: str) -> None:
    put_in_cache(image)
    _, settings = assemble._RECIPES[image.name]()
    assert settings["User"] == user
    assert "LD_LIBRARY_PATH" not in json.dumps(settings)


@pytest.mark.usefixtures("machine")
def test_the_drivers_image_says_that_it_is_not_nvidias_and_what_it_is_made_of() -> None:
    put_in_cache(DRIVER)
    _, settings = assemble._RECIPES[DRIVER.name]()
    labels = settings["Labels"]
    assert isinstance(labels, dict)
    assert labels["dra-workshop.module"] == f"{DRIVER_MODULE}@v{DRIVER_PLUGIN.version}"
    assert re.fullmatch("h1:.{43}=", labels["dra-workshop.module.sum"])
    assert "not NVIDIA's image" in labels["org.opencontainers.image.description"]


@pytest.mark.usefixtures("machine")
def test_an_assembled_image_lies_in_the_cache(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_cache(SANDBOX)
    clock = iter([100.0, 107.2])
    monkeypatch.setattr(assemble, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with build.alone():
        assemble.assemble(SANDBOX)
    folder = build.built(SANDBOX)
    assert folder is not None
    assert {path.name for path in folder.iterdir()} == {"pause.tar", cache.SOURCE}
    assert f"assembled image {SANDBOX.reference} in 7 s" in capsys.readouterr().err


def test_a_library_that_is_nowhere_is_told(machine: Path) -> None:
    with pytest.raises(SetupError, match=r"_gdbm.* needs libgdbm.so.6, which is not on this"):
        assemble._add_libraries(oci.Root(), machine.rglob("_gdbm*"))


def test_a_machine_without_libgcc_is_told(machine: Path) -> None:
    (machine / LIBRARIES / "libgcc_s.so.1").unlink()
    with pytest.raises(SetupError, match=r"libgcc_s\.so\.1, which images need, is not on this"):
        members(WORKLOAD)


def test_a_python_without_its_library_is_told(machine: Path) -> None:
    next(machine.rglob("libpython*")).unlink()
    with pytest.raises(SetupError, match=r"needs libpython3\.11\.so\.1\.0, which is not in /"):
        members(WORKLOAD)


def test_a_program_that_is_a_script_is_told(machine: Path) -> None:
    (machine / "usr" / "bin" / "find").write_text("#!/bin/sh\n")
    with pytest.raises(SetupError, match="find is no ELF file"):
        members(DRIVER)


def test_what_is_not_built_has_a_remedy(machine: Path) -> None:
    with pytest.raises(SetupError, match="pause 1 is not in the cache; run: make setup-host"):
        assemble._pause()


def test_this_machines_python_is_linked_with_a_c_library() -> None:
    read = assemble._linked(images.interpreter())
    assert (assemble._needed(read)["libc.so.6"] or Path()).exists()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/lib64/ld-linux-x86-64.so.2", "usr/lib64/ld-linux-x86-64.so.2"),
        ("/usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"),
        ("/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"),
    ],
)
def test_everything_goes_under_usr(path: str, expected: str) -> None:
    assert assemble._under_usr(Path(path)) == expected


# --- names and digests ------------------------------------------------------------------------


def test_every_image_has_a_recipe_a_name_and_a_file_of_its_own() -> None:
    images_ = list({image.name: image for image in (*IMAGES, *KIND_IMAGES)}.values())
    assert {image.name for image in images_} == assemble._RECIPES.keys()
    assert len({image.reference for image in images_}) == len(images_)
    assert len({image.file for image in images_}) == len(images_)


def test_an_image_from_another_machine_serves(machine: Path) -> None:
    before = DRIVER.digest
    (machine / "usr" / "bin" / "find").write_bytes(b"another version")
    assert DRIVER.digest == before


@pytest.mark.parametrize("image", (*IMAGES, EXAMPLE), ids=lambda image: image.name)
def test_the_digest_changes_with_the_recipes(
    image: Image, machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = image.digest
    (tmp_path / "changed.py").touch()
    monkeypatch.setattr(images, "MAKERS", (tmp_path / "changed.py",))
    assert image.digest != before


def test_the_digest_changes_with_what_an_image_is_made_of() -> None:
    assert replace(SANDBOX, made_of=()).digest != SANDBOX.digest


def test_a_program_that_this_machine_lacks_is_told(machine: Path) -> None:
    (machine / "usr" / "bin" / "chroot").unlink()
    with pytest.raises(SetupError, match="needs this machine's chroot, which is not in"):
        images.host_program("chroot")
