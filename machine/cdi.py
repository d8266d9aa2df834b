"""Specifications of the Container Device Interface: what a container needs to use a device.

NVIDIA's toolkit writes them for the GPUs of a machine. `load` and `installed` read files, all
else is pure. Every error names the file, what is wrong with it, and the command that fixes it.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from machine.errors import LabError

KIND = "nvidia.com/gpu"
FOLDERS = (Path("/etc/cdi"), Path("/var/run/cdi"))
"""Where container runtimes look; what a later folder says of a device counts."""
VERSIONS = ("0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0")
"""Of the CDI specification; no runtime reads those before 0.3.0 any more."""
ALL = "all"
GENERATE = "run: sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
VERSIONED = re.compile(r"lib(?:cuda|nvidia-ml)\.so\.(\d{3,}(?:\.\d+)+)")
"""Libraries whose file is named by the driver's version, as everywhere but on WSL2."""


class SpecError(LabError):
    """A spec cannot be used."""

    def __init__(self, found: str, remedy: str = GENERATE) -> None:
        super().__init__(found, remedy)


def load(path: Path) -> dict[str, Any]:
    """The CDI spec in a file, JSON or YAML, of whatever vendor, not yet checked.

    Raises SpecError if it cannot be read or is no mapping.
    """
    source = f"CDI spec {path}"
    try:
        text = path.read_text()
        found = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except FileNotFoundError as error:
        raise SpecError(f"{source} does not exist") from error
    except PermissionError as error:
        raise SpecError(
            f"{source} may not be read by this user", f"run: sudo chmod a+r {path}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{source} cannot be read: {error}") from error
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise SpecError(f"{source} is neither JSON nor YAML: {reason}") from error
    if not isinstance(found, dict):
        raise SpecError(f"{source} is no CDI spec: it holds no mapping")
    return found


def installed() -> tuple[Path, dict[str, Any]] | None:
    """The file in FOLDERS that says what NVIDIA's GPUs of this machine are, and what is in it,
    checked; None where there is none.

    Raises LabError for one that cannot be used; files of other vendors are not checked.
    """
    found = None
    for path in (path for folder in FOLDERS for path in _list_specs(folder)):
        try:
            spec = load(path)
        except SpecError:
            if "nvidia" in path.name:
                raise
            continue
        if spec.get("kind") == KIND or ("nvidia" in path.name and "kind" not in spec):
            validate(spec, f"CDI spec {path}")
            found = path, spec
    return found


def _list_specs(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix in (".json", ".yaml"))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LabError(
            f"CDI folder {folder} cannot be read: {error.strerror}",
            f"run: sudo chmod a+rx {folder}",
        ) from error


def validate(spec: Any, source: str = "the CDI spec of this machine") -> None:
    """Raises SpecError, naming source, key, value and what is allowed, unless it is a spec of
    NVIDIA's GPUs whose version is known here and which has the parts that are read here."""
    if not isinstance(spec, dict):
        raise SpecError(f"{source} is no CDI spec: it holds no mapping")
    _require_known_version(spec.get("cdiVersion"), source)
    if spec.get("kind") != KIND:
        raise SpecError(f"{source}: kind is {spec.get('kind')!r}, not {KIND}")
    devices = spec.get("devices")
    if not isinstance(devices, list) or not devices:
        raise SpecError(
            f"{source} lists no device", f"see whether nvidia-smi lists a GPU, then {GENERATE}"
        )
    _validate_edits(spec, source)
    for number, device in enumerate(devices):
        if not isinstance(device, dict) or not isinstance(device.get("name"), str):
            raise SpecError(f"{source}: devices[{number}] has no name")
        _validate_edits(device, f"{source}: device {device['name']}")


def _require_known_version(version: Any, source: str) -> None:
    known = f"known are {VERSIONS[0]} to {VERSIONS[-1]}"
    if version is None:
        raise SpecError(f"{source} is no CDI spec: it has no cdiVersion; {known}")
    if version not in VERSIONS:
        raise SpecError(
            f"{source}: cdiVersion {version!r} is not known here; {known}",
            "use a newer version of this workshop, or an NVIDIA Container Toolkit up to 1.19 and "
            + GENERATE,
        )


_PARTS = {"mounts": ("hostPath", "containerPath"), "deviceNodes": ("path",), "hooks": ("path",)}


def _validate_edits(holder: dict[str, Any], source: str) -> None:
    edits, source = holder.get("containerEdits"), f"{source}: containerEdits"
    if edits is None:
        return
    if not isinstance(edits, dict):
        raise SpecError(f"{source} is no mapping")
    for part, keys in _PARTS.items():
        entries = edits.get(part)
        if entries is not None and not isinstance(entries, list):
            raise SpecError(f"{source}.{part} is no list")
        for number, entry in enumerate(entries or []):
            for key in keys:
                value = entry.get(key) if isinstance(entry, dict) else None
                if not isinstance(value, str) or not value.startswith("/"):
                    raise SpecError(
                        f"{source}.{part}[{number}].{key} is {value!r}, not an absolute path"
                    )


def device_names(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Names that the spec gives to GPUs and to parts of them, without the one for all."""
    return tuple(device["name"] for device in spec["devices"] if device["name"] != ALL)


def driver_version(spec: Mapping[str, Any]) -> str:
    """Version of the driver for which the spec was made, "" if no file in it tells."""
    names = (PurePosixPath(mount["hostPath"]).name for mount in part(spec, "mounts"))
    return next((found[1] for name in names if (found := VERSIONED.fullmatch(name))), "")


def part(holder: Mapping[str, Any], part: str) -> list[dict[str, Any]]:
    return list((holder.get("containerEdits") or {}).get(part) or [])
