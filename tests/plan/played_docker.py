"""A docker program that plays a daemon well enough for kind to set its nodes up.

The real kind loads and checks its configuration, makes the nodes, and writes into each what kubeadm
is told, with the patches merged; then kubeadm fails. Nothing outside one folder is changed, and
what kind asks beyond that is refused and noted.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

KIND = Path(".tools/bin/kind").resolve()
ENDS_AT = "failed to init node with kubeadm"
"""What kind says when it has come as far as it can."""
KUBEADM = "kubeadm.conf"
SCRIPT = """\
#!/bin/sh
cd {folder}
unexpected() {{ echo "$*" >> unexpected; echo "not played: $*" >&2; exit 64; }}
case "$1" in
-v) echo 'Docker version 28.2.2, build 0' ;;
info) case "$*" in
  *'{{{{json .}}}}'*) cat info.json ;;
  *'{{{{.Driver}}}}'*) echo overlay2 ;;
  *) echo '[]' ;;
  esac ;;
ps) ls nodes ;;
network) case "$2" in
  ls) echo 1 ;;
  inspect) echo 172.18.0.0/16 ;;
  *) unexpected "$@" ;;
  esac ;;
inspect) case "$*" in
  *--type=image*) ;;
  *x-k8s.kind.role*-control-plane) echo control-plane ;;
  *x-k8s.kind.role*) echo worker ;;
  *IPAddress*) echo 172.18.0.2, ;;
  *) unexpected "$@" ;;
  esac ;;
run) mkdir nodes/$3; printf '%s\\n' "$@" > nodes/$3/run ;;
logs) echo 'Reached target multi-user.target - Multi-User System.' ;;
exec)
  shift
  while case "$1" in -*) true ;; *) false ;; esac; do shift; done
  node=$1; shift
  case "$*" in
  'cat /kind/version') cat version ;;
  'mkdir -p /kind') ;;
  'cp /dev/stdin /kind/kubeadm.conf') cat > nodes/$node/kubeadm.conf ;;
  'kubeadm init '*) exit 1 ;;
  *) unexpected "$node: $*" ;;
  esac ;;
*) unexpected "$@" ;;
esac
"""


@dataclass(frozen=True)
class Said:
    """How kind ended, and all that it printed."""

    code: int
    text: str


class PlayedDocker:
    """Of nodes with one version of Kubernetes, on a machine with control groups 1 or 2."""

    def __init__(self, folder: Path, version: str, cgroups: int = 2) -> None:
        self.folder = folder
        self.nodes = folder / "nodes"
        self.nodes.mkdir(parents=True)
        (folder / "version").write_text(f"v{version}\n")
        (folder / "info.json").write_text(json.dumps({"CgroupVersion": str(cgroups)}))
        program = folder / "bin" / "docker"
        program.parent.mkdir()
        program.write_text(SCRIPT.format(folder=shlex.quote(str(folder))))
        program.chmod(0o755)

    def create(self, config: str) -> Said:
        """`kind create cluster` with that configuration."""
        path = self.folder / "kind.yaml"
        path.write_text(config)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("KIND_", "DOCKER_"))}
        done = subprocess.run(
            [str(KIND), "create", "cluster", "--config", str(path), "--retain",
             "--kubeconfig", str(self.folder / "kubeconfig")],
            env=kept | {"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", "HOME": str(self.folder)},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False, timeout=60,
        )  # fmt: skip
        return Said(done.returncode, done.stdout)

    def unexpected(self) -> str:
        """What was asked and is not played."""
        path = self.folder / "unexpected"
        return path.read_text() if path.exists() else ""

    def names(self) -> list[str]:
        return sorted(path.name for path in self.nodes.iterdir())

    def run_with(self, node: str) -> list[str]:
        """The arguments that the node's container was made with."""
        return (self.nodes / node / "run").read_text().splitlines()

    def told(self, node: str) -> dict[str, dict[str, Any]]:
        """What kubeadm is told in the node: kind of object → object."""
        documents = yaml.safe_load_all((self.nodes / node / KUBEADM).read_text())
        return {document["kind"]: document for document in documents}
