"""Specifications of the Container Device Interface: what a container needs to use a device.

NVIDIA's toolkit writes them for the GPUs of a machine. `load` and `installed` look at files, all
else is pure. Every error names the file, what is wrong with it, and the command that fixes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from machine.errors import LabError

KIND = "nvidia.com/gpu"
FOLDERS = (Path("/etc/cdi"), Path("/var/run/cdi"))
"""Where container runtimes look; what a later folder says of a device counts."""
VERSIONS = ("0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0")
"""Of the CDI specification; those before 0.3.0 no runtime reads any more."""
ALL = "all"
GENERATE = "run: sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
VERSIONED = re.compile(r"lib(?:cuda|nvidia-ml)\.so\.(\d{3,}(?:\.\d+)+)")
"""Libraries whose file is named by the driver's version, as they are but on WSL2."""


def load(path: Path) -> dict[str, Any]:
    """The CDI spec in a file, JSON or YAML, of whatever vendor, not yet checked.

    Raises LabError if it cannot be read or is no mapping.
    """
    source = f"CDI spec {path}"
    try:
        text = path.read_text()
    except FileNotFoundError as error:
        raise LabError(f"{source} does not exist", GENERATE) from error
    except PermissionError as error:
        raise LabError(
            f"{source} may not be read by this user", f"run: sudo chmod a+r {path}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise LabError(f"{source} cannot be read: {error}", GENERATE) from error
    try:
        found = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise LabError(f"{source} is neither JSON nor YAML: {reason}", GENERATE) from error
    if not isinstance(found, dict):
        raise LabError(f"{source} is no CDI spec: it holds no mapping", GENERATE)
    return found


def installed(folders: Iterable[Path] | None = None) -> tuple[Path, dict[str, Any]] | None:
    """The file that says what NVIDIA's GPUs of this machine are, and what is in it, checked.

    folders: where to look; None: where container runtimes do. Returns None where there is none.
    Raises LabError for one that cannot be used; files of other vendors are not looked at
    closely.
    """
    found = None
    for folder in FOLDERS if folders is None else folders:
        for path in sorted(p for p in _entries(folder) if p.suffix in (".json", ".yaml")):
            try:
                spec = load(path)
            except LabError:
                if "nvidia" in path.name:
                    raise
                continue
            if spec.get("kind") == KIND or ("nvidia" in path.name and "kind" not in spec):
                validate(spec, f"CDI spec {path}")
                found = path, spec
    return found


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LabError(
            f"CDI folder {folder} cannot be read: {error.strerror}",
            f"run: sudo chmod a+rx {folder}",
        ) from error


def validate(spec: Any, source: str = "the CDI spec of this machine") -> None:
    """Raises LabError, naming source, key, value and what is allowed, unless it is a spec of
    NVIDIA's GPUs whose version is known here and which has the parts that are read here."""
    if not isinstance(spec, dict):
        raise LabError(f"{source} is no CDI spec: it holds no mapping", GENERATE)
    _known_version(spec.get("cdiVersion"), source)
    if spec.get("kind") != KIND:
        raise LabError(f"{source}: kind is {spec.get('kind')!r}, not {KIND}", GENERATE)
    devices = spec.get("devices")
    if not isinstance(devices, list) or not devices:
        raise LabError(
            f"{source} lists no device",
            f"see whether nvidia-smi lists a GPU, then {GENERATE}",
        )
    _edits(spec, source)
    for number, device in enumerate(devices):
        if not isinstance(device, dict) or not isinstance(device.get("name"), str):
            raise LabError(f"{source}: devices[{number}] has no name", GENERATE)
        _edits(device, f"{source}: device {device['name']}")


def _known_version(version: Any, source: str) -> None:
    if version in VERSIONS:
        return
    known = f"known are {VERSIONS[0]} to {VERSIONS[-1]}"
    if version is None:
        raise LabError(f"{source} is no CDI spec: it has no cdiVersion; {known}", GENERATE)
    raise LabError(
        f"{source}: cdiVersion {version!r} is not known here; {known}",
        "use a newer version of this workshop, or an NVIDIA Container Toolkit up to 1.19 and "
        + GENERATE,
    )


_PARTS = {"mounts": ("hostPath", "containerPath"), "deviceNodes": ("path",), "hooks": ("path",)}


def _edits(holder: dict[str, Any], source: str) -> None:
    edits = holder.get("containerEdits")
    if edits is None:
        return
    if not isinstance(edits, dict):
        raise LabError(f"{source}: containerEdits is no mapping", GENERATE)
    for part, keys in _PARTS.items():
        entries = edits.get(part)
        if entries is None:
            continue
        if not isinstance(entries, list):
            raise LabError(f"{source}: containerEdits.{part} is no list", GENERATE)
        for number, entry in enumerate(entries):
            for key in keys:
                value = entry.get(key) if isinstance(entry, dict) else None
                if not isinstance(value, str) or not value.startswith("/"):
                    raise LabError(
                        f"{source}: containerEdits.{part}[{number}].{key} is {value!r}, "
                        "not an absolute path",
                        GENERATE,
                    )


def device_names(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Names that the spec gives to GPUs and to parts of them, without the one for all."""
    return tuple(device["name"] for device in spec["devices"] if device["name"] != ALL)


def driver_version(spec: Mapping[str, Any]) -> str:
    """Version of the driver for which the spec was made, "" if no file in it tells."""
    for mount in part(spec, "mounts"):
        name = PurePosixPath(mount["hostPath"]).name
        if found := VERSIONED.fullmatch(name):
            return found[1]
    return ""


def part(holder: Mapping[str, Any], part: str) -> list[dict[str, Any]]:
    return list((holder.get("containerEdits") or {}).get(part) or [])
