"""The images that a node starts with, in the store of its containerd.

kubeadm says which it wants, by names of a registry that is never asked: the store has them. What
is in them is built or, for kube-proxy's tools, taken from the packages of the node.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from toolchain import oci
from toolchain.errors import SetupError
from toolchain.kind_node import base, parts
from toolchain.kind_node.parts import COREDNS, KIND_NET, KUBE_NODE
from toolchain.tools import ETCD, KUBERNETES, KUBERNETES_VERSION, PAUSE

PATH = "PATH=/usr/local/bin:/usr/sbin:/usr/bin"
XTABLES = "usr/sbin/xtables-nft-multi"
NFT = "usr/sbin/nft"
IPTABLES = tuple(
    f"ip{version}tables{suffix}" for version in ("", "6") for suffix in ("", "-save", "-restore")
)
Content = tuple[oci.Root, dict[str, object]]
IMPORT_SECONDS = 300.0

LOAD = """
set -eu
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount -t tmpfs tmpfs "$1/run"
mount -t tmpfs tmpfs "$1/tmp"
mkdir "$1/tmp/images"
mount --bind "$2" "$1/tmp/images"
exec chroot "$1" /bin/sh -euc '
  touch /tmp/empty.toml
  containerd --config /tmp/empty.toml --log-level warn &
  tries=0
  until ctr version > /dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || exit 9
    sleep 0.1
  done
  for image in /tmp/images/*.tar; do
    ctr --namespace k8s.io images import --local --discard-unpacked-layers --digests \
      --label io.cri-containerd.pinned=pinned "$image"
  done
  kill $!
  wait $! || true
'
"""
"""Run in mounts of its own: $1 the root of the node, $2 the folder of the images."""


def load(root: Path, work: Path) -> list[str]:
    """Put the images into the store of the node whose files are in `root`; returns their names.

    work: an empty folder, used meanwhile. Raises SetupError if kubeadm wants an image that there
    is none for.
    """
    wanted = [*_of_kubeadm(root), _sandbox(root), parts.KIND_NET_IMAGE]
    for number, reference in enumerate(dict.fromkeys(wanted)):
        content, settings = _recipe(reference)(root)
        oci.write(reference, content, settings, work / f"{number:02d}.tar")
    base.run([*base.OWN_MOUNTS, "sh", "-c", LOAD, "sh", str(root), str(work)])
    return list(dict.fromkeys(wanted))


def _of_kubeadm(root: Path) -> list[str]:
    version = f"--kubernetes-version=v{KUBERNETES_VERSION}"
    told = base.run([str(root / "usr/bin/kubeadm"), "config", "images", "list", version])
    return told.split()


def _sandbox(root: Path) -> str:
    """The image of pods' sandboxes that kind's configuration of containerd names."""
    text = (root / "etc/containerd/config.toml").read_text()
    found = re.search(r'^\s*sandbox_image = "(.+)"$', text, re.MULTILINE)
    if found is None:
        raise SetupError("kind's configuration of containerd names no sandbox_image")
    return found[1]


def short_name(reference: str) -> str:
    """registry.k8s.io/coredns/coredns:v1.14.2 → coredns."""
    return reference.rpartition("/")[2].partition(":")[0]


def _recipe(reference: str) -> Callable[[Path], Content]:
    name = short_name(reference)
    if name not in _RECIPES:
        raise SetupError(f"kubeadm wants the image {reference}, and there is no recipe for {name}")
    return _RECIPES[name]


# --- what is in them --------------------------------------------------------------------------


def _control_plane(name: str) -> Callable[[Path], Content]:
    """Built, all of them are one program under three names, so their images are one layer."""

    def recipe(_: Path) -> Content:
        program = parts.program(KUBERNETES, name)
        shared = [n for n in parts.CONTROL_PLANE if parts.program(KUBERNETES, n) == program]
        root = _plain()
        first, *others = shared
        root.program(f"usr/local/bin/{first}", program)
        for other in others:
            root.link(f"usr/local/bin/{other}", first)
        return root, {"Entrypoint": [name], "Env": [PATH]}

    return recipe


def _one(program: Callable[[], Path], path: str) -> Callable[[Path], Content]:
    """An image of one static program, at a path that has no slash at its start."""

    def recipe(_: Path) -> Content:
        root = _plain()
        root.program(path, program())
        return root, {"Entrypoint": [f"/{path}"], "Env": [PATH]}

    return recipe


def _kube_proxy(node: Path) -> Content:
    root = _plain()
    root.program("usr/local/bin/kube-proxy", parts.program(KUBE_NODE, "kube-proxy"))
    for program in (XTABLES, NFT):
        root.program(program, node / program)
    for name in IPTABLES:
        root.link(f"usr/sbin/{name}", Path(XTABLES).name)
    # They are opened when a rule names them, and some are linked with more than the programs.
    extensions = [path.relative_to(node).as_posix() for path in node.glob("usr/lib/*/xtables/*.so")]
    for extension in extensions:
        root.file(extension, node / extension)
    for library in _libraries(node, [XTABLES, NFT, *extensions]):
        root.program(_under_usr(library), (node / library).resolve())
    for name in ("bin", "sbin", "lib", "lib64"):
        root.folder(f"usr/{name}")
        root.link(name, f"usr/{name}")
    return root, {"Entrypoint": ["/usr/local/bin/kube-proxy"], "Env": [PATH]}


def _libraries(node: Path, programs: list[str]) -> list[str]:
    """What programs of the node are linked with, as paths in it, the loader among them."""
    told = base.run(["chroot", str(node), "ldd", *(f"/{program}" for program in programs)])
    return sorted({path.lstrip("/") for path in re.findall(r"(/\S+) \(0x", told)})


def _under_usr(path: str) -> str:
    return path if path.startswith("usr/") else f"usr/{path}"


def _plain() -> oci.Root:
    root = oci.Root()
    for name in ("dev", "etc", "proc", "run", "sys", "var"):
        root.folder(name)
    root.folder("tmp", 0o1777)
    root.file("etc/passwd", b"root:x:0:0:root:/:/sbin/nologin\n")
    root.file("etc/group", b"root:x:0:\n")
    return root


_RECIPES: dict[str, Callable[[Path], Content]] = {
    **{name: _control_plane(name) for name in parts.CONTROL_PLANE},
    "kube-proxy": _kube_proxy,
    "coredns": _one(lambda: parts.program(COREDNS, "coredns"), "coredns"),
    "etcd": _one(lambda: parts.program(ETCD, "etcd"), "usr/local/bin/etcd"),
    "pause": _one(lambda: parts.program(PAUSE, "pause"), "pause"),
    "kind-net": _one(lambda: parts.program(KIND_NET, "kind-net"), "usr/local/bin/kind-net"),
}
