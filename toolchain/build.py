"""Builds tools from their wrapper modules into the cache, once.

What Go had compiled before a kill is kept in its build cache, so the next run goes on from there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from toolchain import cache, processes
from toolchain.errors import SetupError
from toolchain.go import Go
from toolchain.progress import say, step
from toolchain.tools import GoTool, Tool

REFUSALS = ("403 Forbidden", "410 Gone", "404 Not Found", "not available")
UNREACHABLE = ("dial tcp", "no such host", "connection refused", "i/o timeout", "TLS handshake")


def built(tool: Tool) -> Path | None:
    """The folder with the tool's programs, None while it has been neither built nor downloaded."""
    folder = cache.folder() / tool.cache_name
    return folder if folder.is_dir() else None


@contextmanager
def alone() -> Iterator[None]:
    """Only one set-up of a user fills the cache; a second one waits and finds the work done."""
    cache.folder().mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(cache.folder() / "build.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        say("another set-up is building the same tools; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def require_c(tools: Iterable[GoTool]) -> None:
    """Raise SetupError, with the remedy, unless all is there that the tools need to compile C.

    pkg-config knows a library only where its headers are installed too.
    """
    needing = {tool.title: tool.cgo for tool in tools if tool.cgo}
    libraries = [item for cgo in needing.values() for item in cgo.libraries.items()]
    compiler = (os.environ.get("CC") or "gcc").split()[0]  # it may have options
    lacking: dict[str, str] = {}
    if needing and not shutil.which(compiler):
        lacking[f"a C compiler ({compiler})"] = "gcc libc6-dev"
    if libraries and not shutil.which("pkg-config"):
        lacking["pkg-config"] = "pkg-config"
    for library, package in libraries:
        if "pkg-config" in lacking or not _is_known(library):
            lacking[f"the headers of {library}"] = package
    if lacking:
        raise SetupError(
            f"building {', '.join(needing)} needs {', '.join(lacking)}; "
            f"Debian and Ubuntu: apt install {' '.join(lacking.values())}"
        )


def _is_known(library: str) -> bool:
    return processes.run(["pkg-config", "--exists", library]).returncode == 0


def build(tool: GoTool, go: Go, position: str) -> None:
    """Build `tool` into the cache; call it inside `alone`.

    position: "2 of 6", for the person who waits.
    """
    log = cache.folder() / "logs" / f"{tool.cache_name}.log"
    log.parent.mkdir(exist_ok=True)
    log.write_text("")
    say(f"{tool.title} ({position}): fetching its sources")
    source = {
        "built from": f"toolchain/modules/{tool.name}",
        "programs": tool.programs,
        "files": tool.files,
    }
    with cache.filled(tool.cache_name, source) as folder:
        if tool.programs:
            packages = _packages(tool, go, log)
            with step(f"building {tool.title} ({position})", packages, "packages") as progress:
                for program, package in tool.programs.items():
                    _compile(tool, go, package, folder / program, log, progress.advance)
            megabytes = sum(f.stat().st_size for f in folder.iterdir()) / 1e6
            say(f"built {tool.title} ({position}) in {progress.seconds:.0f} s, {megabytes:.0f} MB")
        for name, (module, path) in tool.files.items():
            _copy(_module_folder(tool, go, module, log) / path, folder / name)


def _copy(source: Path, target: Path) -> None:
    """Copy a file or folder out of the module cache, whose files are read-only."""
    if source.is_dir():
        shutil.copytree(source, target, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(source, target)
        target.chmod(0o755)


def _module_folder(tool: GoTool, go: Go, module: str, log: Path) -> Path:
    """Where the source of a module that the wrapper requires lies; fetched when it does not."""
    command = [go.program, "mod", "download", "-json", module]
    done = processes.run(command, cwd=tool.folder, env=go.environment())
    if done.returncode:
        log.write_text(done.stdout + done.stderr)
        raise _failure(tool, log)
    return Path(json.loads(done.stdout)["Dir"])


def _packages(tool: GoTool, go: Go, log: Path) -> int:
    """How many packages the tool is made of; fetches their sources as a side effect."""
    command = [go.program, "list", *_tags(tool), "-deps", "-f", "{{.ImportPath}}"]
    listed = processes.run(
        [*command, *tool.programs.values()],
        cwd=tool.folder,
        env=go.environment(cgo=tool.cgo is not None),
    )
    if listed.returncode:
        log.write_text(listed.stderr)
        raise _failure(tool, log)
    return len(listed.stdout.splitlines())


def _compile(
    tool: GoTool, go: Go, package: str, output: Path, log: Path, advance: Callable[[], None]
) -> None:
    options = ["-v", *_tags(tool), "-ldflags", _linker_flags(tool), "-o", str(output)]
    with (
        _edited(tool, go, log) as edited,
        log.open("a") as record,
        subprocess.Popen(
            [go.program, "build", *options, *edited, package],
            cwd=tool.folder,
            env=go.environment(cgo=tool.cgo is not None),
            text=True,
            errors="replace",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as compiler,
    ):
        assert compiler.stderr is not None  # noqa: S101
        for line in compiler.stderr:
            record.write(line)
            if len(line.split()) == 1:  # a package that was compiled; C's warnings have words
                advance()
    if compiler.returncode:
        raise _failure(tool, log)


@contextmanager
def _edited(tool: GoTool, go: Go, log: Path) -> Iterator[list[str]]:
    """The options by which Go takes copies of modules, with the tool's edits, instead of them."""
    if not tool.edits:
        yield []
        return
    with tempfile.TemporaryDirectory() as folder:
        copies: dict[str, Path] = {}
        for edit in tool.edits:
            if edit.module not in copies:
                copies[edit.module] = Path(folder, f"module-{len(copies)}")
                _copy(_module_folder(tool, go, edit.module, log), copies[edit.module])
            source = copies[edit.module] / edit.path
            text = source.read_text()
            if text.count(edit.old) != 1:
                raise SetupError(
                    f"building {tool.title}: {edit.module}/{edit.path} has not {edit.old!r} once"
                )
            source.write_text(text.replace(edit.old, edit.new))
        module = Path(folder, "go.mod")
        replaced = "".join(f"replace {name} => {copy}\n" for name, copy in copies.items())
        module.write_text((tool.folder / "go.mod").read_text() + replaced)
        shutil.copyfile(tool.folder / "go.sum", module.with_suffix(".sum"))
        yield [f"-modfile={module}"]


def _tags(tool: GoTool) -> list[str]:
    return ["-tags", ",".join(tool.cgo.tags)] if tool.cgo and tool.cgo.tags else []


def _linker_flags(tool: GoTool) -> str:
    flags = ["-s", "-w", *(f"-X {key}={value}" for key, value in tool.sets.items())]
    if tool.cgo:
        flags.append(f"-extldflags '{' '.join(tool.cgo.links)}'")
    return " ".join(flags)


def _failure(tool: GoTool, log: Path) -> SetupError:
    lines = log.read_text().splitlines()
    for line in lines:
        if any(mark in line for mark in UNREACHABLE):
            return SetupError(
                f"building {tool.title}: the Go module registry cannot be reached; "
                f"check the network, or set GOPROXY to a registry that you reach\n  {line}"
            )
        if any(mark in line for mark in REFUSALS):
            return SetupError(
                f"building {tool.title}: the Go module registry refuses a version; "
                f"set GOPROXY to a registry that has it\n  {line}"
            )
    end = "\n  ".join(lines[-8:])
    return SetupError(f"building {tool.title} failed; the whole log is {log}\n  {end}")
