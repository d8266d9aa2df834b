"""Reading a person's kubeconfig, and taking one context out of it; it is never written.

As with kubectl, $KUBECONFIG may name several files: the first that defines a name wins, and paths
in a file are relative to it.
"""

import base64
import binascii
import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509

from kube.errors import KubeError
from machine.files import PRIVATE, write_text

MARK = "dra-workshop"
PATHS = {"cluster": ("certificate-authority",), "user": ("client-certificate", "client-key")}
"""Keys that name a file, beside tokenFile."""
Config = dict[str, Any]


@dataclass
class Entries:
    """What the files define. current: the context that is used where none is named, "" for none;
    named: {"contexts", "clusters", "users"} → name → (entry, its folder)."""

    source: str
    current: str = ""
    named: dict[str, dict[str, tuple[Config, Path]]] = field(default_factory=dict)

    @property
    def contexts(self) -> list[str]:
        return sorted(self.named.get("contexts", {}))


def places(given: str) -> list[Path]:
    """The file that is given, else those of $KUBECONFIG, else kubectl's own."""
    several = [part for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    named = [given] if given else several
    return [Path(name).expanduser() for name in named] or [Path.home() / ".kube" / "config"]


def read(given: str) -> Entries:
    """What the kubeconfig defines, "" for kubectl's own choice.

    Raises KubeError if no file exists, or one cannot be read or is no kubeconfig.
    """
    files = places(given)
    source = os.pathsep.join(map(str, files))
    present = [path for path in files if path.exists()]
    if not present:
        raise KubeError(f"there is no file {source}")
    entries = Entries(source)
    for path in present:
        current, found = _read_file(path)
        entries.current = entries.current or current
        for kind, named in found.items():
            entries.named[kind] = named | entries.named.get(kind, {})
    return entries


def _read_file(path: Path) -> tuple[str, dict[str, dict[str, tuple[Config, Path]]]]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        folder = path.resolve().parent
        return str(content.get("current-context") or ""), {
            kind: {item["name"]: (item[kind[:-1]], folder) for item in content.get(kind) or []}
            for kind in ("contexts", "clusters", "users")
        }
    except OSError as error:
        raise KubeError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise KubeError(f"{path} is not a kubeconfig: {reason}") from error


def only(entries: Entries, context: str) -> Config:
    """A kubeconfig with that context, its cluster and its user, which can lie anywhere.

    Raises KubeError, with the known contexts, for one that is missing or not whole.
    """
    if context not in entries.named["contexts"]:
        known = ", ".join(entries.contexts) or "none"
        raise KubeError(f"no context '{context}' in {entries.source}; contexts: {known}")
    chosen, _ = entries.named["contexts"][context]
    parts: Config = {}
    for kind in ("cluster", "user"):
        name = (chosen or {}).get(kind, "")
        if name not in entries.named[f"{kind}s"]:
            raise KubeError(
                f"context '{context}' names {kind} '{name}', which {entries.source} lacks"
            )
        entry, folder = entries.named[f"{kind}s"][name]
        parts[f"{kind}s"] = [{"name": name, kind: _with_absolute_paths(kind, entry or {}, folder)}]
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "contexts": [{"name": context, "context": chosen}],
    } | parts


def _with_absolute_paths(kind: str, entry: Config, folder: Path) -> Config:
    """Files that are renewed, as tokens are, stay where they are."""
    keys = (*PATHS[kind], "tokenFile")
    moved = entry | {key: str(folder / entry[key]) for key in keys if entry.get(key)}
    plugin = entry.get("exec") or {}
    if os.sep in plugin.get("command", ""):
        moved["exec"] = plugin | {"command": str(folder / plugin["command"])}
    return moved


def server(config: Config) -> str:
    return str(config["clusters"][0]["cluster"].get("server", ""))


def marked(config: Config, folder: Path) -> Config:
    """With the folder noted in its context, by which copies that others make of it are known."""
    (context,) = config["contexts"]
    note = {"name": MARK, "extension": {"folder": f"{folder.absolute()}{os.sep}"}}
    others = [each for each in context["context"].get("extensions") or [] if each["name"] != MARK]
    noted = context["context"] | {"extensions": [*others, note]}
    return config | {"contexts": [context | {"context": noted}]}


def write(path: Path, config: Config) -> None:
    """For this user only."""
    write_text(path, yaml.safe_dump(config), mode=PRIVATE)


def expired(config: Config, now: datetime | None = None) -> str:
    """Which of the user's credentials has expired and when, "" for none that says so itself, as
    client certificates and some tokens do."""
    user = config["users"][0]["user"]
    moment = now or datetime.now(UTC)
    for what, end in (("client certificate", _certificate_end(user)), ("token", _token_end(user))):
        if end is not None and end < moment:
            return f"the {what} of user '{config['users'][0]['name']}' expired on {end:%Y-%m-%d}"
    return ""


def _certificate_end(user: Config) -> datetime | None:
    try:
        data = base64.b64decode(user.get("client-certificate-data", ""))
        pem = data or Path(user["client-certificate"]).read_bytes()
        return x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except (KeyError, OSError, ValueError):
        return None  # whoever uses it will say what is wrong with it


def _token_end(user: Config) -> datetime | None:
    """When a JSON web token ends; other tokens do not say."""
    try:
        provided = (user.get("auth-provider") or {}).get("config") or {}
        token = user.get("token") or provided.get("id-token")
        token = token or Path(user["tokenFile"]).read_text(encoding="utf-8")
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return datetime.fromtimestamp(claims["exp"], UTC)
    except (OSError, KeyError, IndexError, TypeError, ValueError, binascii.Error):
        return None
