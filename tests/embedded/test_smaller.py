"""A running lab that is configured smaller: what is to go is gone before anything is checked."""

from __future__ import annotations

import json

from tests.checkout import Checkout

POD = "pod/shared-1"


def names(checkout: Checkout, stack: str, what: str, *options: str) -> set[str]:
    listed = checkout.kubectl(stack, "get", what, *options, "-o", "json")
    assert listed.code == 0, listed.text
    return {item["metadata"]["name"] for item in json.loads(listed.text)["items"]}


def require_up(checkout: Checkout, stack: str, **environment: str) -> None:
    done = checkout.up(stack, **environment)
    assert done.code == 0, done.text
    assert checkout.outputs(stack)["status"] == "passed"


def require_settled_and_removable(checkout: Checkout, stack: str) -> None:
    unchanged = checkout.preview(stack, "--expect-no-changes")
    assert unchanged.code == 0, unchanged.text
    gone = checkout.destroy(stack)
    assert gone.code == 0, gone.text
    assert checkout.processes() == []
    assert not (checkout.folder / ".run" / stack).exists()


def test_fewer_nodes_with_fewer_gpus(checkout: Checkout) -> None:
    stack = "module3"
    checkout.stack(stack)
    checkout.configure(stack, "nodes", "2")
    checkout.configure(stack, "gpusPerNode", "2")
    require_up(checkout, stack)
    assert names(checkout, stack, "nodes") == {"gpu-node-0", "gpu-node-1"}

    checkout.configure(stack, "nodes", "1")
    require_up(checkout, stack)
    assert names(checkout, stack, "nodes") == {"gpu-node-0"}
    assert names(checkout, stack, "resourceslices") == {"gpu-node-0-gpu.nvidia.com"}
    assert checkout.outputs(stack)["driver"]["devices"] == 2

    checkout.configure(stack, "gpusPerNode", "1")
    require_up(checkout, stack)
    assert checkout.outputs(stack)["driver"]["devices"] == 1
    checkout.configure(stack, "nodes", "2")
    require_up(checkout, stack)
    assert names(checkout, stack, "nodes") == {"gpu-node-0", "gpu-node-1"}
    require_settled_and_removable(checkout, stack)


def test_fewer_steps_and_clients_of_mps(checkout: Checkout) -> None:
    stack, namespace = "module5", ("-n", "dra-module5")
    checkout.stack(stack)
    require_up(checkout, stack)
    assert "share-3" in names(checkout, stack, "pods", *namespace)

    checkout.configure(stack, "mpsClients", "2")
    for index, percentage in enumerate(("100", "30")):
        checkout.configure(stack, f"mpsPercentages[{index}]", percentage)
    require_up(checkout, stack)
    assert names(checkout, stack, "jobs", *namespace) == {"percentage-100", "percentage-30"}
    shared = {name for name in names(checkout, stack, "pods", *namespace) if "share-" in name}
    assert shared == {"share-1", "share-2"}
    require_settled_and_removable(checkout, stack)


def test_a_module_less_whose_pod_still_holds_the_gpu(checkout: Checkout) -> None:
    """As after an update that was killed while that module's pods ran."""
    stack = "module4"
    checkout.stack(stack)
    for index, module in enumerate(("3", "4")):
        checkout.configure(stack, f"modules[{index}]", module)
    require_up(checkout, stack)
    found = checkout.kubectl(stack, "get", POD, "-n", "dra-module4", "-o", "json")
    pod = json.loads(found.text)
    pod["metadata"] = {"name": "still-there", "namespace": "dra-module4"}
    del pod["spec"]["nodeName"], pod["status"]
    (checkout.folder / "pod.json").write_text(json.dumps(pod))
    assert checkout.kubectl(stack, "create", "-f", "pod.json").code == 0
    held = checkout.kubectl(
        stack, "wait", "--for=jsonpath={.status.phase}=Running", "--timeout=30s",
        "-n", "dra-module4", "pod/still-there",
    )  # fmt: skip
    assert held.code == 0, held.text

    done = checkout.pulumi("config", "rm", "modules[1]", "--path", "--stack", stack)
    assert done.code == 0, done.text
    require_up(checkout, stack, DRA_WORKSHOP_VERIFY="1")
    assert "dra-module4" not in names(checkout, stack, "namespaces")
    require_settled_and_removable(checkout, stack)
