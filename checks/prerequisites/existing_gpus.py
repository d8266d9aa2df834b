"""Module 0 on a shared cluster: who gives out its GPUs, and whether the lab may use one."""

from functools import partial

from checks.prerequisites import embedded, statements
from checks.prerequisites.cluster_look import Look
from checks.prerequisites.statements import refuse
from checks.result import CheckFailed, Checklist, CheckSkipped
from kube import devices, ownership, pods
from results.status import Basis

ARCHIVE = ".tools/images/workload.tar"
TITLES = {
    "gpu-nodes": "which nodes have GPUs, and who gives them out",
    "one-owner": "no node's GPUs are given out by a device plugin and by the DRA driver",
    "driver-not-there": "no driver is installed that would conflict with the lab's",
    "driver-there": "the DRA driver is installed",
    "target-published": "the GPU that is named is published, by one driver on one node",
    "target-free": "no other claim has it",
    "target-node-usable": "its node runs the lab's pods",
    "workload-image": "its node has the image of the lab's pods",
}
REMEDIES = {
    "gpu-nodes": "let this user list nodes and ResourceSlices",
    "one-owner": "neither knows what the other gives away; switch the device plugin off on these "
    "nodes: kubectl label node NODE nvidia.com/gpu.deploy.device-plugin=false (GPU Operator)",
    "driver-not-there": "use that driver: set installDriver to false",
    "driver-there": "install it as your cluster does, or have the lab bring it: set "
    "installDriver to true",
    "target-published": "set target to the UUID of one of them",
    "target-free": "wait until that claim is released, or set target to another GPU",
    "target-node-usable": "set target to a GPU of another node, or fix it (kubectl uncordon, "
    "kubectl taint)",
    "workload-image": f"leave {pods.IMAGE_KEY} empty for a public image; or copy {ARCHIVE} (make "
    "setup-host) there, and run: ctr -n k8s.io images import workload.tar",
}


def add(checklist: Checklist, look: Look) -> None:
    given = look.given
    verify = partial(statements.verify, checklist, TITLES, REMEDIES)
    verify("gpu-nodes", lambda: ownership.in_words(look.gpu_nodes), "", "dra-served")
    probe = partial(_one_owner, look)
    verify("one-owner", probe, "one owner a node", "gpu-nodes", failure="warning")
    if given["install"]:
        embedded.add_chart(checklist, given["driverChart"])
        expected = f"no {given['chart']} but this lab's"
        verify("driver-not-there", lambda: _no_driver(look), expected, "gpu-nodes")
    elif given["usesDriver"]:
        expected = f"devices of {given['driver']}"
        verify("driver-there", lambda: _driver(look), expected, "gpu-nodes")
    if given["target"]:
        _add_target(checklist, look)


def _one_owner(look: Look) -> str:
    if look.given["install"]:  # the driver will run on every node with GPUs
        refuse([str(node) for node in look.gpu_nodes if node.plugin], "")
    return refuse(ownership.of_both(look.gpu_nodes), "", "no device plugin beside the driver")


def _driver(look: Look) -> str:
    if not look.published:
        raise CheckFailed("no ResourceSlice of it")
    names = [f"{each['namespace']}/{each['plugin']} {each['version']}" for each in look.drivers]
    count = devices.counted(len(look.published), "device")
    return f"{count}; {', '.join(names).strip() or 'its DaemonSet is not known'}"


def _no_driver(look: Look) -> str:
    refuse([f"{each['namespace']}/{each['plugin']}" for each in look.drivers], "")
    ours = look.is_ours(look.given["driverNamespace"])
    if not ours:
        real = [node.name for node in look.gpu_nodes if node.published and not node.simulated]
        refuse(real, f"devices of {look.given['driver']} on ")
    others = [each for each in look.given["outside"] if _of_another(look, each)]
    return refuse(others, "there already: ", "only this lab's" if ours else "none")


def _of_another(look: Look, thing: str) -> bool:
    found = ownership.read_object(look.kube, thing)
    if found is None:
        return False
    namespace = look.given["driverNamespace"]
    release = found["metadata"].get("annotations", {}).get(ownership.RELEASED_IN)
    return release != namespace or not look.is_ours(namespace)


def _add_target(checklist: Checklist, look: Look) -> None:
    simulated = checklist.holds("gpu-nodes") and look.simulated
    basis: Basis = "simulated" if simulated else "real"
    verify = partial(statements.verify, checklist, TITLES, REMEDIES)
    for identity, probe, expected, need in (
        ("target-published", _target, look.given["target"], "gpu-nodes"),
        ("target-free", _free, "no claim but this lab's", "target-published"),
        ("target-node-usable", _usable, "ready, neither cordoned nor tainted", "target-published"),
    ):
        verify(identity, partial(probe, look), expected, need, basis=basis)
    if not simulated:
        image, probe = look.given["workloadImage"], partial(_image, look)
        verify("workload-image", probe, image, "target-published", failure="warning")


def _device(look: Look) -> devices.Device:
    found = look.target
    if found is None and look.given["install"]:
        raise CheckSkipped("known when the driver is installed")
    if found is None:
        known = [f"{device.uuid} on {device.node}" for device in look.published if device.uuid]
        more = f" and {len(known) - 8} more" if len(known) > 8 else ""
        raise CheckFailed(f"not published; there are {', '.join(known[:8]) or 'none'}{more}")
    return found


def _target(look: Look) -> str:
    device = _device(look)
    return f"{device.driver} {device.name} on {device.node} ({device.product})"


def _free(look: Look) -> str:
    claims = look.kube.get(look.kube.resource.list_resource_claim_for_all_namespaces).items
    found = ownership.holders(claims, _device(look))
    others = [each for each in found if not look.is_ours(each.partition("/")[0])]
    return refuse(others, "allocated to ", "free")


def _usable(look: Look) -> str:
    name = _device(look).node
    if name not in look.nodes:
        raise CheckFailed(f"there is no node {name}")
    if why := ownership.unusable(look.nodes[name]):
        raise CheckFailed(f"{name}: {why}")
    return name


def _image(look: Look) -> str:
    """A node lists its largest images only, so this one may be there all the same. One of a
    registry is fetched by the node; whether it can is not known before."""
    node, wanted = look.nodes[_device(look).node], look.given["workloadImage"]
    names = [name for image in node.status.images or [] for name in image.names or []]
    _, _, digest = wanted.partition("@")
    ending = digest or wanted.partition("/")[2] or wanted
    if any(name.endswith(ending) for name in names):
        return str(wanted)
    unlisted = f"{node.metadata.name} does not list it"
    if wanted.startswith(pods.OF_SET_UP):
        raise CheckFailed(unlisted)
    raise CheckSkipped(f"{unlisted}; it is pulled when a pod starts there")
