"""What a tool is: programs that are built from Go modules, or that their project releases."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
MODULES = Path(__file__).resolve().parent.parent / "modules"


@dataclass(frozen=True)
class Tool:
    """Programs that lie in a folder of the cache, whose name says what they come from.

    version: as the tool itself reports it.
    into: folder of `.tools` that its files are placed in.
    """

    name: str
    version: str
    into: str = field(default="bin", kw_only=True)

    @property
    def title(self) -> str:
        return self.name if self.version in self.name else f"{self.name} {self.version}"

    @property
    def digest(self) -> str:
        """Twelve hex digits over all that decides what the programs are."""
        raise NotImplementedError

    @property
    def cache_name(self) -> str:
        return f"{self.name}-{self.version}-{self.digest}"

    @property
    def places(self) -> Mapping[str, str]:
        """File name in `.tools/<into>` → file name in the tool's folder of the cache."""
        raise NotImplementedError


@dataclass(frozen=True)
class Cgo:
    """What a tool that is partly written in C asks of the C compiler.

    links: flags of the linker. tags: build tags.
    libraries: name under which pkg-config knows it → Debian's package with its headers.
    """

    links: tuple[str, ...]
    tags: tuple[str, ...] = ()
    libraries: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Edit:
    """One place in a tool's source that is built differently than it was published.

    module, path: of the file. old: text that is in it once. new: what is built instead.
    """

    module: str
    path: str
    old: str
    new: str


@dataclass(frozen=True)
class GoTool(Tool):
    """A tool that is built from Go modules.

    name: folder under `toolchain/modules/`.
    programs: file name → package that it is built from.
    aliases: program → further names under which it is to be called.
    sets: linker variables (`-X`).
    files: name → (module, path in it) of a file or folder that is taken as it is.
    edits: what is changed in its source, where no option does it.
    cgo: None where the tool is all Go, and so runs on any Linux.
    minutes: what building took, alone in a cold cache on two cores of linux/amd64.
    """

    programs: dict[str, str]
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)
    files: dict[str, tuple[str, str]] = field(default_factory=dict)
    edits: tuple[Edit, ...] = ()
    cgo: Cgo | None = None
    minutes: float = 0.0

    @property
    def folder(self) -> Path:
        return MODULES / self.name

    @property
    def digest(self) -> str:
        """Over all that decides what is built.

        The Go compiler is left out on purpose: its next patch release must not cost a user
        twenty minutes for the same programs.
        """
        content = hashlib.sha256()
        for path in sorted(p for p in self.folder.rglob("*") if p.is_file()):
            name = path.relative_to(self.folder).as_posix()
            content.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
        decided = (self.programs, self.sets, self.files, sys.platform, platform.machine())
        content.update(repr(decided).encode())
        for extra in filter(None, (self.edits, self.cgo)):
            content.update(repr(extra).encode())
        return content.hexdigest()[:12]

    @property
    def places(self) -> Mapping[str, str]:
        built = {
            name: program
            for program in self.programs
            for name in self.aliases.get(program) or (program,)
        }
        return built | {name: name for name in self.files}


@dataclass(frozen=True)
class Asset:
    """A file of a release: an archive, or a program itself.

    url: where it is. sums: where its SHA-256 is published, in one of the forms that
    `toolchain.download` reads.
    programs: file name → path of the program in the archive, "" where the file is the program.
    All may have fields: {version}, {os}, {arch} (amd64 or arm64), {x64} (x64 or arm64) and
    {archive} (tar.gz, zip on macOS).
    """

    url: str
    sums: str
    programs: dict[str, str]

    def here(self, version: str) -> Asset:
        """The one for this machine, its fields filled in."""
        arch = ARCHITECTURES[platform.machine()]
        fields = {
            "version": version,
            "os": sys.platform,
            "arch": arch,
            "x64": arch.replace("amd64", "x64"),
            "archive": "zip" if sys.platform == "darwin" else "tar.gz",
        }
        programs = {name: path.format(**fields) for name, path in self.programs.items()}
        return Asset(self.url.format(**fields), self.sums.format(**fields), programs)


@dataclass(frozen=True)
class Release(Tool):
    """A tool as its project publishes it.

    instead_of: what is built where the release is not available.
    systems: those that the project publishes it for.
    into: see Tool; what goes elsewhere than into `.tools/bin` is not looked for on PATH.
    on_path: how the version of programs on PATH must begin that may serve instead of it;
    "" for exactly this version.
    oldest: the oldest version on PATH that may serve, with every later one; "" for none but those.
    """

    assets: tuple[Asset, ...]
    instead_of: tuple[GoTool, ...]
    systems: tuple[str, ...] = ("linux", "darwin")
    on_path: str = ""
    oldest: str = ""

    @property
    def published(self) -> bool:
        """Whether the project publishes it for this machine."""
        return sys.platform in self.systems

    @property
    def files(self) -> tuple[Asset, ...]:
        return tuple(asset.here(self.version) for asset in self.assets)

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr(self.files).encode()).hexdigest()[:12]

    @property
    def places(self) -> Mapping[str, str]:
        return {name: name for asset in self.assets for name in asset.programs}
