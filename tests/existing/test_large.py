"""A lab on a cluster of others with very many GPU nodes comes up, is changed, moved and removed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from components.simulated_gpus import gpu_uuid
from kube.client import Kube
from tests.existing.theirs import (
    NODE,
    STACK,
    Objects,
    Theirs,
    configure,
    differences,
    lab,
    slice_of,
)

COUNT = 1_500
"""A list of so many is longer than one environment variable can be."""


def test_a_cluster_of_very_many_gpu_nodes(with_driver: Theirs) -> None:
    add_nodes(with_driver)
    folder = with_driver.folder.parent / "ours"
    ours = lab(folder / "lab", with_driver)
    before = with_driver.objects()
    made = ours.up(STACK)
    assert made.code == 0, made.text
    assert ours.outputs(STACK)["cluster"]["nodes"]["count"] == COUNT + 1

    configure(ours, target=gpu_uuid(NODE, 0))
    changed = ours.up(STACK)
    assert changed.code == 0, changed.text
    assert ours.outputs(STACK)["status"] == "passed"

    moved = type(ours)(ours.folder.rename(folder / "moved"))
    gone = moved.operate("destroy", "--stack", STACK)
    assert gone.code == 0, gone.text
    after = with_driver.objects()
    assert set(before) == set(after)
    assert differences(apart_from_nodes(before), apart_from_nodes(after)) == []


def apart_from_nodes(objects: Objects) -> Objects:
    """Of so many nodes the control plane goes on writing how long a kubelet may keep secrets."""
    return {name: item for name, item in objects.items() if not name.startswith("v1 Node ")}


def add_nodes(theirs: Theirs) -> None:
    """Nodes that only slices say have GPUs, so that no DaemonSet has pods on them."""
    kube = Kube(str(theirs.own))
    names = [
        f"ip-10-0-{number // 256}-{number % 256}.eu-central-1.compute" for number in range(COUNT)
    ]

    def add(name: str) -> None:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
        kube.get(kube.core.create_node, node)
        kube.get(kube.resource.create_resource_slice, slice_of(name))

    with ThreadPoolExecutor(8) as adding:
        list(adding.map(add, names))
