"""The files of a node: kind's, our programs and our settings, laid over Debian's packages.

What kind's own image is given by its Dockerfile (images/base in its module) is done here in the
same order: files, units that a container cannot use are removed, units are enabled, programs.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from toolchain.kind_node import base, parts
from toolchain.kind_node.parts import CRICTL, KUBE_NODE, NODE_CNI
from toolchain.tools import CONTAINERD, KUBERNETES_VERSION, RUNC

FILES = Path(__file__).resolve().parent / "files"
UNITS = "etc/systemd/system"
PROGRAMS_OF_KIND = ("usr/local/bin", "kind/bin")
"""Folders of kind's files in which all are programs."""
NO_UNITS = (
    *("lib/systemd/system/multi-user.target.wants/*", f"{UNITS}/*.wants/*"),
    *("lib/systemd/system/local-fs.target.wants/*", "lib/systemd/system/basic.target.wants/*"),
    *("lib/systemd/system/sockets.target.wants/*udev*",),
    *("lib/systemd/system/sockets.target.wants/*initctl*",),
    "lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service",
)
"""What systemd is not to start in a container: the machine's own devices, mounts and consoles."""
ENABLED = (
    *("kubelet.service", "containerd.service", "undo-mount-hacks.service", "fit-runtime.service"),
)
MASKED = ("systemd-binfmt.service",)
"""It would register formats of programs in the machine's kernel."""
OURS = "usr/local/lib/dra-workshop"
SPEC = "etc/containerd/cri-base.json"
HOOK = "/kind/bin/mount-product-files.sh"


def fill(root: Path) -> None:
    """Make a folder with Debian's packages the files of a node, but for the images it starts with.

    Must be run as root, so that all in it belongs to root.
    """
    _files_of_kind(root)
    _units(root)
    _programs(root)
    _runtime(root)
    manifests = root / "kind" / "manifests"
    manifests.mkdir()
    network = (FILES / "default-cni.yaml").read_text()
    (manifests / "default-cni.yaml").write_text(
        network.replace("KIND_NET_IMAGE", parts.KIND_NET_IMAGE)
    )
    shutil.copyfile(FILES / "default-storage.yaml", manifests / "default-storage.yaml")
    (root / "kind" / "version").write_text(f"v{KUBERNETES_VERSION}")
    (root / "etc" / "kubernetes" / "manifests").mkdir(parents=True)
    # Each node gets its own id from kind's entrypoint, unless D-Bus has one already.
    for name in ("etc/machine-id", "var/lib/dbus/machine-id"):
        (root / name).unlink()
    (root / "var/lib/dbus/machine-id").symlink_to("/etc/machine-id")
    for name in ("etc/hostname", "etc/resolv.conf"):
        (root / name).unlink(missing_ok=True)


def _files_of_kind(root: Path) -> None:
    source = parts.node_files()
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        target = root / relative
        if path.is_dir():
            target.mkdir(exist_ok=True)
            target.chmod(0o755)
        elif path.name != "clean-install":  # what installs packages in kind's own build
            _copy(path, target, 0o755 if str(relative.parent) in PROGRAMS_OF_KIND else 0o644)


def _units(root: Path) -> None:
    for pattern in NO_UNITS:
        for path in root.glob(pattern):
            path.unlink()
    with (root / "etc/systemd/journald.conf").open("a") as journal:
        journal.write("ReadKMsg=no\n")  # the machine's messages are not the node's
    _copy(FILES / "fit-runtime.service", root / UNITS / "fit-runtime.service", 0o644)
    wanted = root / UNITS / "multi-user.target.wants"
    wanted.mkdir(exist_ok=True)
    for unit in ENABLED:
        (wanted / unit).symlink_to(f"/{UNITS}/{unit}")
    for unit in MASKED:
        (root / UNITS / unit).symlink_to("/dev/null")


def _programs(root: Path) -> None:
    placed: dict[Path, Path] = {}
    for name in ("kubelet", "kubeadm", "kubectl"):
        source, target = parts.program(KUBE_NODE, name), root / "usr/bin" / name
        if source in placed:
            os.link(placed[source], target)
        else:
            _copy(source, target, 0o755)
            placed[source] = target
    for name in CONTAINERD.programs:
        _copy(parts.program(CONTAINERD, name), root / "usr/local/bin" / name, 0o755)
    _copy(parts.program(CRICTL, "crictl"), root / "usr/local/bin/crictl", 0o755)
    plugins = root / "opt/cni/bin"
    plugins.mkdir(parents=True)
    for name in NODE_CNI.programs:
        _copy(parts.program(NODE_CNI, name), plugins / name, 0o755)
    (root / "etc/cni/net.d").mkdir(parents=True)


def _runtime(root: Path) -> None:
    """runc, what decides at a node's start how it is called, and what every container gets."""
    ours = root / OURS
    ours.mkdir(parents=True)
    _copy(parts.program(RUNC, "runc"), ours / "runc", 0o755)
    (root / "usr/local/sbin/runc").symlink_to(f"/{OURS}/runc")
    for name in ("fit-runtime", "runc-within-bounds"):
        _copy(FILES / name, ours / name, 0o755)
    told = base.run([str(parts.program(CONTAINERD, "ctr")), "oci", "spec"])
    (root / SPEC).write_text(base_spec(told))


def base_spec(told: str) -> str:
    """The specification that containers on a node start from.

    told: containerd's own, as JSON. As on kind's own nodes, each container is given the machine's
    product name and id from files of the node, and no limits of its own for processes.
    """
    spec = json.loads(told)
    hooks = spec.setdefault("hooks", {})
    hooks["createContainer"] = [*hooks.get("createContainer", []), {"path": HOOK}]
    spec["process"].pop("rlimits", None)
    return json.dumps(spec, indent=2) + "\n"


def _copy(source: Path, target: Path, mode: int) -> None:
    shutil.copyfile(source, target)
    target.chmod(mode)
