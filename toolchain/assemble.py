"""Assembles images into the cache, of what is built and of this machine's files.

Everything lies under /usr, with links to it from /bin, /lib and so on. Libraries go to the folder
in which this machine has its C library: there the loader, which comes from this machine too, looks
by itself. So no image sets LD_LIBRARY_PATH, which would also reach the driver's programs. For the
same reason the GPU's libraries that CDI puts elsewhere are found: its hook update-ldcache writes
/etc/ld.so.cache, which LD_LIBRARY_PATH would override.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from auditwheel.lddtree import DynamicExecutable, ldd

from toolchain import build, cache, oci
from toolchain.errors import SetupError
from toolchain.images import (
    DRIVER,
    DRIVER_PROGRAMS,
    EXAMPLE,
    SANDBOX,
    WORKLOAD,
    Image,
    host_program,
    interpreter,
    standard_library,
)
from toolchain.progress import say
from toolchain.tools import (
    DRA_WEBHOOK,
    DRIVER_MODULE,
    DRIVER_PLUGIN,
    EXAMPLE_DRIVER,
    EXAMPLE_MODULE,
    KIND_TOOLS,
    NVIDIA_TOOLKIT,
    PAUSE,
    GoTool,
)

NOBODY = 65534
PATH = "PATH=/usr/local/bin:/usr/bin:/usr/sbin"
PASSWD = (
    "root:x:0:0:root:/root:/usr/bin/sh\n"
    f"nobody:x:{NOBODY}:{NOBODY}:nobody:/nonexistent:/usr/sbin/nologin\n"
)
GROUP = f"root:x:0:\nnogroup:x:{NOBODY}:\n"
MERGED = ("bin", "sbin", "lib", "lib64")
"""Folders of / that are links into /usr."""
C_LIBRARIES = (
    *("libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "libresolv.so.2", "librt.so.1"),
    "libgcc_s.so.1",
)
"""The C library and what goes with it. NVIDIA's libraries and programs are linked with these, and
the C library itself opens libgcc_s when a thread is cancelled."""
NOT_OF_PYTHON = (
    *("*/__pycache__", "site-packages", "dist-packages", "config-*", "test", "*/test", "*/tests"),
    *("ensurepip", "idlelib", "lib2to3", "pydoc_data", "tkinter", "turtledemo", "turtle.py"),
    *(
        "lib-dynload/_test*",
        "lib-dynload/*xx*",
        "lib-dynload/_tkinter.*",
        "__pycache__",
        "lib-dynload/nis.*",
    ),
)
"""Paths in the standard library that no pod needs: tests, windows, installers, documentation."""


def assemble(image: Image) -> None:
    """Have the image in the cache; call it inside `build.alone`, when what it is made of is built.

    Raises SetupError if this machine lacks what goes into it.
    """
    started = time.monotonic()
    root, settings = _RECIPES[image.name]()
    made_of = {tool.title: tool.cache_name for tool in image.made_of}
    with cache.filled(image.cache_name, {"assembled": image.reference, "of": made_of}) as folder:
        file = folder / image.file
        oci.write(image.reference, root, settings, file)
        megabytes = file.stat().st_size / 1e6
    seconds = time.monotonic() - started
    say(f"assembled image {image.reference} in {seconds:.0f} s, {megabytes:.0f} MB")


# --- what is in them --------------------------------------------------------------------------


def _pause() -> tuple[oci.Root, dict[str, object]]:
    root = oci.Root()
    root.program("pause", _built(PAUSE) / "pause")
    return root, {"Entrypoint": ["/pause"], "User": f"{NOBODY}:{NOBODY}"}


def _workload() -> tuple[oci.Root, dict[str, object]]:
    root = _base()
    python = interpreter()
    library = standard_library()
    name = python.name
    root.program(f"usr/local/bin/{name}", python)
    for alias in ("python3", "python"):
        root.link(f"usr/local/bin/{alias}", name)
    # Python finds its standard library by where it lies itself.
    home = f"usr/local/{sys.platlibdir}/{name}"
    root.tree(home, library, NOT_OF_PYTHON)
    _add_bytecode(root, home)
    shared = _shared_python(python)
    linked = [python, *([shared] if shared else [])]
    for extension in sorted((library / "lib-dynload").glob("*.so")):
        packed = f"{home}/lib-dynload/{extension.name}"
        if packed not in root.members:
            continue
        if all(_needed(_linked(extension)).values()):
            linked.append(extension)
        else:  # it cannot be imported on this machine either
            del root.members[packed]
    _add_libraries(root, linked, {shared.name: shared} if shared else {})
    return root, {
        "Cmd": ["python3"],
        "Env": [PATH],
        "User": f"{NOBODY}:{NOBODY}",
        "Labels": _labels(f"Python {platform.python_version()} of the machine it was made on"),
    }


def _driver() -> tuple[oci.Root, dict[str, object]]:
    root = _base()
    plugin, toolkit = _built(DRIVER_PLUGIN), _built(NVIDIA_TOOLKIT)
    ours = [plugin / "gpu-kubelet-plugin", toolkit / "nvidia-cdi-hook"]
    theirs = {name: host_program(name) for name in DRIVER_PROGRAMS}
    for program in ours:
        root.program(f"usr/bin/{program.name}", program)
    (webhook,) = DRA_WEBHOOK.programs
    root.program("usr/bin/webhook", _built(DRA_WEBHOOK) / webhook)  # static
    for name, program in theirs.items():
        root.program(f"usr/bin/{name}", program)
    root.link("usr/bin/sh", "bash")
    script = "kubelet-plugin-prestart.sh"
    root.program(f"usr/bin/{script}", plugin / script)
    root.tree("templates", plugin / "templates")
    root.file("LICENSE", plugin / "LICENSE")
    root.folder("root")
    _add_libraries(root, [*ours, *theirs.values()])
    described = "kubelet plugin and webhook of {module}, not NVIDIA's image"
    return root, {
        "Env": [PATH],
        "User": "0:0",
        "Labels": _module_labels(DRIVER_PLUGIN, DRIVER_MODULE, described),
    }


def _example() -> tuple[oci.Root, dict[str, object]]:
    """It is one static program, so it needs no libraries; the chart calls it by its name alone."""
    root = _base()
    for program in EXAMPLE_DRIVER.programs:
        root.program(f"usr/bin/{program}", _built(EXAMPLE_DRIVER) / program)
    described = "the kubelet plugin of {module}, not its project's image"
    return root, {
        "Env": [PATH],
        "User": "0:0",
        "Labels": _module_labels(EXAMPLE_DRIVER, EXAMPLE_MODULE, described),
    }


_RECIPES: dict[str, Callable[[], tuple[oci.Root, dict[str, object]]]] = {
    SANDBOX.name: _pause,
    WORKLOAD.name: _workload,
    DRIVER.name: _driver,
    EXAMPLE.name: _example,
}


def _base() -> oci.Root:
    root = oci.Root()
    for name in MERGED:
        root.folder(f"usr/{name}")
        root.link(name, f"usr/{name}")
    for name in ("dev", "etc", "proc", "run", "sys"):
        root.folder(name)
    root.folder("tmp", 0o1777)
    root.file("etc/passwd", PASSWD.encode())
    root.file("etc/group", GROUP.encode())
    return root


def _labels(description: str) -> dict[str, str]:
    return {
        "org.opencontainers.image.vendor": "dra-workshop",
        "org.opencontainers.image.description": f"assembled by dra-workshop: {description}",
    }


def _module_labels(tool: GoTool, module: str, description: str) -> dict[str, str]:
    """Labels that say which sources a program comes from.

    description: {module} in it becomes the module with its version.
    """
    versioned = f"{module}@v{tool.version}"
    return _labels(description.format(module=versioned)) | {
        "dra-workshop.module": versioned,
        "dra-workshop.module.sum": _module_sum(tool, module),
        "dra-workshop.build": tool.cache_name,
    }


def _built(tool: GoTool) -> Path:
    folder = build.built(tool)
    if folder is None:
        target = "setup-kind" if tool in KIND_TOOLS else "setup-host"
        raise SetupError(f"{tool.title} is not in the cache; run: make {target}")
    return folder


def _module_sum(tool: GoTool, module: str) -> str:
    """The checksum in go.sum that Go verified the module's sources by."""
    wanted = [module, f"v{tool.version}"]
    lines = [line.split() for line in (tool.folder / "go.sum").read_text().splitlines()]
    return next(words[2] for words in lines if words[:2] == wanted)


# --- Python -----------------------------------------------------------------------------------


def _add_bytecode(root: oci.Root, home: str) -> None:
    """Add what Python would make of the modules in `home` when they are first imported.

    On a read-only root it cannot keep that, so every program would compile all that it imports.
    Nothing in an image changes, so the sources are not looked at again (PEP 552, unchecked).
    Raises SetupError if a module cannot be compiled.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, (_, content) in root.members.items():
            if path.startswith(f"{home}/") and path.endswith(".py") and isinstance(content, Path):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(content, folder / path)
        done = subprocess.run(
            [
                *(sys.executable, "-S", "-P", "-m", "compileall", "-q"),
                *("--invalidation-mode", "unchecked-hash", "-s", name, "-p", "/", name),
            ],
            # Alone, in order and with one seed: what else Python holds decides on some bytes.
            env=_without_python() | {"PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise SetupError(f"the image {WORKLOAD.reference}: {done.stdout}{done.stderr}".strip())
        for compiled in folder.rglob("*.pyc"):
            root.file(compiled.relative_to(folder).as_posix(), compiled.read_bytes())


def _without_python() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}


# --- libraries --------------------------------------------------------------------------------


def _add_libraries(
    root: oci.Root, programs: Iterable[Path], known: Mapping[str, Path] | None = None
) -> None:
    """Add what the programs, which may be libraries themselves, are linked with, and the loader.

    known: libraries that are not looked for, by name.
    Raises SetupError if a library is not on this machine.
    """
    libraries = dict(known or {})
    for program in programs:
        read = _linked(program)
        if read.interpreter:
            root.program(_under_usr(Path(read.interpreter)), Path(read.interpreter))
        for name, path in _needed(read).items():
            if path is None:
                raise SetupError(f"{program} needs {name}, which is not on this machine")
            libraries[name] = path
    folder = _c_library(libraries).parent
    for name in C_LIBRARIES:
        libraries.setdefault(name, folder / name)
        if not libraries[name].exists():
            raise SetupError(f"{libraries[name]}, which images need, is not on this machine")
    for name, path in libraries.items():
        root.program(f"{_under_usr(folder)}/{name}", path)


def _linked(program: Path) -> DynamicExecutable:
    """What a program says it is linked with. Raises SetupError if it is none."""
    with program.open("rb") as file:
        if file.read(4) != b"\x7fELF":
            raise SetupError(f"{program} is no ELF file, so it cannot be taken into an image")
    return ldd(program)


def _needed(read: DynamicExecutable) -> dict[str, Path | None]:
    """Name → file, None if it is not found; without the loader and Python's own library.

    auditwheel does not look for the latter.
    """
    return {
        library.soname: library.realpath
        for library in read.libraries.values()
        if not library.soname.startswith(("ld-linux", "libpython"))
    }


def _shared_python(python: Path) -> Path | None:
    """The library that holds most of Python, None where Python is linked without one."""
    names = [str(name) for name in _linked(python).needed if name.startswith("libpython")]
    if not names:
        return None
    folders = (str(sysconfig.get_config_var("LIBDIR")), f"{sys.base_prefix}/lib")
    for folder in folders:
        if (path := Path(folder) / names[0]).exists():
            return path
    raise SetupError(f"{python} needs {names[0]}, which is not in {' or '.join(folders)}")


def _c_library(libraries: Mapping[str, Path]) -> Path:
    if "libc.so.6" not in libraries:
        raise SetupError("images can only be assembled on a Linux with the GNU C library")
    return libraries["libc.so.6"].resolve()


def _under_usr(path: Path) -> str:
    """Where a file or folder of this machine goes in an image: /lib64/x → usr/lib64/x."""
    return f"usr/{path.as_posix().removeprefix('/').removeprefix('usr/')}"
