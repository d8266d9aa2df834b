"""Module 2 says what the driver lacks: its chart, classes, plugin, GPUs, attributes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from checks.modules import driver
from checks.result import CheckFailed
from components import simulated_gpus
from components.drivers import DRIVERS
from components.simulated_gpus import GPU_PROFILES, attribute_names, gpu_uuid
from kube import devices
from machine.errors import LabError
from tests.unit.fake_kube import (
    BROKEN,
    BROKEN_TEXT,
    DRIVER_VERSION,
    FORBIDDEN,
    FORBIDDEN_TEXT,
    KUBECONFIG,
    NAMESPACE,
    NOT_FOUND_TEXT,
    UNREACHABLE,
    UNREACHABLE_TEXT,
    FakeKube,
    claim,
    daemon_set,
    device_class,
    findings,
    gpu_slice,
    node,
    pod,
    pulling,
    refusal,
    running,
    status_body,
    statuses,
)

NODES = ["gpu-node-0", "gpu-node-1"]
NVIDIA = DRIVERS["nvidia"]
ATTRIBUTES = attribute_names(DRIVER_VERSION)
PARAMETERS = {
    "kubeconfig": KUBECONFIG,
    "clusterOwned": True,
    "driverOwned": True,
    "namespace": NAMESPACE,
    "version": DRIVER_VERSION,
    "nodes": NODES,
    "gpusPerNode": 2,
    "chart": NVIDIA.name,
    "plugin": NVIDIA.plugin,
    "driver": NVIDIA.domain,
    "classes": list(NVIDIA.classes),
    "attributes": ATTRIBUTES,
    "ownMemory": True,
    "uuids": [],
    "devices": devices.SIMULATED,
}
GATE = {
    "kubeconfig": KUBECONFIG,
    "clusterOwned": True,
    "namespace": NAMESPACE,
    "driver": NVIDIA.domain,
    "nodes": NODES,
    "gpusPerNode": 2,
    "seconds": 5.0,
    "gpu": "",
}


def plugin(ready: int, chart: str | None = f"dra-driver-nvidia-gpu-{DRIVER_VERSION}") -> Any:
    return daemon_set(NVIDIA.plugin, ready, {"helm.sh/chart": chart} if chart else None)


@pytest.fixture
def kube(monkeypatch: pytest.MonkeyPatch) -> FakeKube:
    """A cluster with the driver, of which everything holds."""
    return FakeKube(
        nodes=[node(name) for name in NODES],
        daemon_sets=[plugin(ready=2)],
        device_classes=[device_class(name) for name in NVIDIA.classes],
        slices=[gpu_slice(name, gpus=2) for name in NODES],
    ).stand_in(monkeypatch, driver)


def run(**changed: Any) -> dict[str, Any]:
    return driver.run("2", PARAMETERS | changed)


def failed(identity: str) -> str:
    """Run it; what was found where the statement did not hold."""
    result = run()
    assert result["status"] == "failed"
    finding = findings(result)[identity]
    assert finding["status"] == "failed"
    assert finding["remedy"]
    return str(finding["found"])


def test_a_good_driver_passes_and_says_what_it_has(kube: FakeKube) -> None:
    result = run()
    assert (result["module"], result["status"]) == ("2", "passed")
    assert {identity: f["found"] for identity, f in findings(result).items()} == {
        "chart-version": DRIVER_VERSION,
        "device-classes": "gpu.nvidia.com, mig.nvidia.com, vfio.gpu.nvidia.com",
        "plugin-ready": "2 of 2",
        "devices-published": "4 GPUs (NVIDIA H200)",
        "device-attributes": ", ".join(ATTRIBUTES),
    }


@pytest.mark.parametrize(
    ("kind", "simulated"),
    [
        ("simulated", ["plugin-ready", "devices-published", "device-attributes"]),
        ("mocked", ["plugin-ready", "devices-published", "device-attributes"]),
        ("gpu", []),
    ],
)
def test_chart_and_classes_are_never_simulated(
    kube: FakeKube, kind: str, simulated: list[str]
) -> None:
    found = findings(run(devices=kind))
    assert [identity for identity, finding in found.items() if finding["simulated"]] == simulated


def test_mocked_gpus_are_published_as_they_were_told(kube: FakeKube) -> None:
    told = simulated_gpus.devices(NODES[0], 2, GPU_PROFILES["h200"], DRIVER_VERSION)
    kube.slices = kube.slices[:1]
    one = {"nodes": NODES[:1], "devices": devices.MOCKED, "mocked": told}
    kube.daemon_sets = [plugin(ready=1)]
    result = run(**one)
    assert result["status"] == "passed"
    found = findings(result)["devices-as-mocked"]
    assert (found["found"], found["basis"]) == ("2 GPUs", "mocked")

    told[1]["capacity"]["memory"]["value"] = "1Gi"
    told[1]["attributes"]["serial"] = {"string": "7"}
    assert findings(run(**one))["devices-as-mocked"]["found"] == (
        "gpu-1: attributes.serial.string None, not 7, capacity.memory.value 143771Mi, not 1Gi"
    )


@pytest.mark.parametrize("shares", ["memory", "unlimited", "4"])
def test_gpus_are_shared_as_they_were_to_be(kube: FakeKube, shares: str) -> None:
    kube.slices = [gpu_slice(name, gpus=2, shares=shares) for name in NODES]
    assert findings(run(consumableShares=shares))["consumable-shares"]["found"] == shares
    assert json.loads(driver.gate(GATE | {"consumableShares": shares}))["uuid"]
    others = ({"memory", "unlimited", "4"} - {shares}).pop()
    found = findings(run(consumableShares=others))["consumable-shares"]
    assert (found["status"], found["found"]) == ("failed", f"gpu-node-0/gpu-0: {shares}")


def test_a_driver_that_was_told_otherwise_is_waited_for(kube: FakeKube) -> None:
    def publish() -> None:
        kube.slices = [gpu_slice(name, gpus=2, shares="4") for name in NODES]

    kube.changes = [publish]
    assert json.loads(driver.gate(GATE | {"consumableShares": "4"}))["uuid"]


@pytest.mark.parametrize(("wanted", "found"), [("4", ""), ("", "memory")])
def test_the_gate_stays_shut_where_gpus_are_shared_otherwise(
    kube: FakeKube, wanted: str, found: str
) -> None:
    kube.slices = [gpu_slice(name, gpus=2, shares=found) for name in NODES]
    with pytest.raises(CheckFailed, match=f"gpu-node-0/gpu-0: {found or 'one claim at a time'}"):
        driver.gate(GATE | {"consumableShares": wanted})


def test_how_gpus_are_shared_is_asked_of_the_labs_driver_only(kube: FakeKube) -> None:
    kube.slices = [gpu_slice(name, gpus=2, shares="memory") for name in NODES]
    assert "consumable-shares" not in findings(run(consumableShares=None))
    assert json.loads(driver.gate(GATE | {"consumableShares": None}))["uuid"]


@pytest.mark.parametrize(
    ("label", "found"),
    [
        ("dra-driver-nvidia-gpu-0.4.1", "dra-driver-nvidia-gpu-0.4.1"),
        ("gpu-operator-0.5.0", "gpu-operator-0.5.0"),
        (None, "a DaemonSet without chart label"),
    ],
)
def test_another_chart_fails_and_its_plugin_is_not_looked_at(
    kube: FakeKube, label: str | None, found: str
) -> None:
    kube.daemon_sets = [plugin(2, label)]
    assert failed("chart-version") == found
    assert statuses(run())["plugin-ready"] == "needs chart-version"


def test_a_cluster_without_the_chart_fails(kube: FakeKube) -> None:
    kube.daemon_sets = []
    assert failed("chart-version") == NOT_FOUND_TEXT


def test_device_classes_that_are_missing_are_named(kube: FakeKube) -> None:
    kube.device_classes = [device_class("gpu.nvidia.com"), device_class("gpu.example.com")]
    assert failed("device-classes") == "missing: mig.nvidia.com, vfio.gpu.nvidia.com"


def test_device_classes_that_cannot_be_listed_fail_alone(kube: FakeKube) -> None:
    kube.refusals["list_device_class"] = FORBIDDEN
    assert failed("device-classes") == FORBIDDEN_TEXT
    assert list(statuses(run()).values()).count("passed") == 4


def test_a_plugin_that_is_not_ready_in_time_is_counted(kube: FakeKube) -> None:
    kube.daemon_sets = [plugin(ready=1)]
    assert failed("plugin-ready") == "1 of 2"
    assert findings(run())["plugin-ready"]["expected"] == "2 of 2"


def test_a_plugin_that_waits_for_a_driver_says_so_in_its_own_words(kube: FakeKube) -> None:
    kube.daemon_sets, kube.slices = [plugin(ready=1)], []
    waiting = pod("plugin-x", "Pending", on="gpu-node-0")
    waiting.status.init_container_statuses = [running("init-container")]
    kube.pods = [waiting]
    kube.logs = {"plugin-x": "looks\n\nexit code: 127\n\nHas the GPU driver been set up?\n"}
    told = "plugin-x, init-container: looks | exit code: 127 | Has the GPU driver been set up?"
    assert failed("plugin-ready") == f"1 of 2: {told}"
    with pytest.raises(LabError) as raised:
        driver.gate(GATE)
    assert str(raised.value).endswith(f"2 of 2 on gpu-node-1; {told}")


def test_a_machine_without_gpus_has_none_to_wait_for(kube: FakeKube) -> None:
    """Not a shared cluster, of which only the driver knows."""
    kube.slices = []
    assert json.loads(driver.gate(GATE | {"gpusPerNode": 0})) == {"uuid": "", "node": ""}
    assert statuses(run(gpusPerNode=0))["plugin-ready"] == "passed"


def test_one_gpu_is_told_of_in_the_singular(kube: FakeKube) -> None:
    kube.slices = [gpu_slice("gpu-node-0", gpus=1)]
    finding = findings(run(nodes=["gpu-node-0"], gpusPerNode=1))["devices-published"]
    assert (finding["expected"], finding["found"]) == ("1 GPU", "1 GPU (NVIDIA H200)")


def test_an_image_that_cannot_be_had_is_named(kube: FakeKube) -> None:
    kube.daemon_sets = [plugin(ready=0)]
    waiting = pod("plugin-x", "Pending", on="gpu-node-0")
    waiting.status.container_statuses = [pulling("gpus", "ImagePullBackOff", "no such host")]
    kube.pods = [waiting]
    assert failed("plugin-ready") == "0 of 2: plugin-x, gpus: ImagePullBackOff no such host"


def test_a_plugin_that_becomes_ready_in_time_passes(kube: FakeKube) -> None:
    kube.daemon_sets = [plugin(ready=0)]
    kube.changes = [
        lambda: kube.daemon_sets.__setitem__(0, plugin(ready=1)),
        lambda: kube.daemon_sets.__setitem__(0, plugin(ready=2)),
    ]
    assert run()["status"] == "passed"


def test_a_plugin_that_cannot_be_watched_fails(kube: FakeKube) -> None:
    kube.refusals["list_namespaced_daemon_set"] = BROKEN
    assert failed("plugin-ready") == BROKEN_TEXT


def test_gpus_that_are_not_published_in_time_are_counted_by_node(kube: FakeKube) -> None:
    kube.slices = [gpu_slice("gpu-node-0", gpus=1)]
    assert failed("devices-published") == (
        "after 60 s these GPUs are in no slice of gpu.nvidia.com: "
        "1 of 2 on gpu-node-0, 2 of 2 on gpu-node-1"
    )
    assert statuses(run())["device-attributes"] == "needs devices-published"


def test_gpus_that_are_withdrawn_in_time_pass(kube: FakeKube) -> None:
    """As by a driver that was configured for fewer a moment ago."""
    kube.slices[0] = gpu_slice("gpu-node-0", 5)
    kube.changes = [lambda: kube.slices.__setitem__(0, gpu_slice("gpu-node-0", 2, generation=2))]
    assert findings(run())["devices-published"]["status"] == "passed"


def test_gpus_that_are_published_in_time_pass(kube: FakeKube) -> None:
    late = kube.slices.pop()
    kube.changes = [lambda: kube.slices.append(late)]
    assert run()["status"] == "passed"


def test_two_gpus_with_the_same_uuid_fail(kube: FakeKube) -> None:
    twins = kube.slices[0].spec.devices
    twins[1].attributes["uuid"] = twins[0].attributes["uuid"]
    assert failed("devices-published") == "4 GPUs, but only 3 different UUIDs"


def test_more_gpus_than_expected_are_counted(kube: FakeKube) -> None:
    kube.slices[1] = gpu_slice("gpu-node-1", gpus=3)
    assert failed("devices-published") == "5 GPUs"
    assert findings(run())["devices-published"]["expected"] == "4 GPUs"


def test_gpus_of_a_node_that_is_not_the_stacks_are_too_many(kube: FakeKube) -> None:
    kube.slices.append(gpu_slice("stranger", gpus=1))
    assert failed("devices-published") == "5 GPUs"


def test_slices_that_cannot_be_listed_fail(kube: FakeKube) -> None:
    kube.refusals["list_resource_slice"] = FORBIDDEN
    assert failed("devices-published") == FORBIDDEN_TEXT


@pytest.mark.parametrize(
    ("lacking", "extra"), [(["brand"], []), ([], ["colour"]), (["brand"], ["colour"])]
)
def test_a_gpu_that_is_described_otherwise_is_named_with_what_differs(
    kube: FakeKube, lacking: list[str], extra: list[str]
) -> None:
    attributes = kube.slices[1].spec.devices[0].attributes
    attributes |= dict.fromkeys(extra, attributes["brand"])
    for name in lacking:
        del attributes[name]
    assert failed("device-attributes") == (
        f"gpu-node-1/gpu-0: lacking {lacking}, not expected {extra}"
    )


def test_a_gpu_without_a_numa_node_is_as_expected(kube: FakeKube) -> None:
    del kube.slices[1].spec.devices[0].attributes["resource.kubernetes.io/numaNode"]
    assert findings(run())["device-attributes"]["found"] == ", ".join(
        name for name in ATTRIBUTES if not name.endswith("numaNode")
    )


def test_a_gpu_without_memory_is_named(kube: FakeKube) -> None:
    kube.slices[0].spec.devices[1].capacity = None
    assert failed("device-attributes") == "gpu-node-0/gpu-1 has no capacity 'memory'"


def test_without_an_api_server_every_statement_says_so_or_is_skipped(kube: FakeKube) -> None:
    kube.refusals["*"] = UNREACHABLE
    assert failed("chart-version") == UNREACHABLE_TEXT
    assert statuses(run()) == {
        "chart-version": "failed",
        "device-classes": "failed",
        "plugin-ready": "needs chart-version",
        "devices-published": "failed",
        "device-attributes": "needs devices-published",
    }


def test_the_gate_opens_when_every_node_is_ready_and_every_gpu_published(kube: FakeKube) -> None:
    late_node, late_slice = kube.nodes.pop(), kube.slices.pop()
    kube.changes = [
        lambda: kube.nodes.append(late_node),
        lambda: kube.slices.append(late_slice),
    ]
    first = {"uuid": gpu_uuid(NODES[0], 0), "node": NODES[0]}
    assert json.loads(driver.gate(GATE)) == first


def test_the_gate_tells_the_node_of_the_gpu_that_modules_use(kube: FakeKube) -> None:
    uuid = gpu_uuid(NODES[1], 1)
    assert json.loads(driver.gate(GATE | {"gpu": uuid})) == {"uuid": uuid, "node": NODES[1]}


def test_the_gate_says_which_node_is_late(kube: FakeKube) -> None:
    kube.nodes[1] = node("gpu-node-1", "False")
    with pytest.raises(LabError, match=r"^after 5 s not ready: gpu-node-1$"):
        driver.gate(GATE)


def test_the_gate_says_which_gpus_are_late(kube: FakeKube) -> None:
    kube.slices.pop()
    with pytest.raises(LabError, match=r"after 5 s .*: 2 of 2 on gpu-node-1$"):
        driver.gate(GATE)


def test_the_gate_says_that_there_is_no_api_server(kube: FakeKube) -> None:
    kube.refusals["*"] = UNREACHABLE
    with pytest.raises(LabError, match=UNREACHABLE_TEXT):
        driver.gate(GATE)


def test_a_published_device_has_plain_values() -> None:
    _, second = devices.published([gpu_slice("gpu-node-0", gpus=2)])
    assert (second.driver, second.pool, second.name) == (devices.DRIVER, "gpu-node-0", "gpu-1")
    assert second.node == "gpu-node-0"
    assert second.uuid == gpu_uuid("gpu-node-0", 1)
    assert second.attributes["driverVersion"] == "580.159.4"
    assert second.attributes["resource.kubernetes.io/numaNode"] == 1
    assert second.capacity == {"memory": "143771Mi"}


def test_a_value_of_zero_is_a_value() -> None:
    (device,) = devices.published([gpu_slice("gpu-node-0", gpus=1)])
    assert device.attributes["resource.kubernetes.io/numaNode"] == 0


def test_only_the_newest_slices_of_a_pool_count() -> None:
    slices = [
        gpu_slice("gpu-node-0", gpus=1, generation=2),
        gpu_slice("gpu-node-0", gpus=4, generation=1),
        gpu_slice("gpu-node-1", gpus=1, generation=1),
    ]
    found = [(device.node, device.name) for device in devices.published(slices)]
    assert found == [("gpu-node-0", "gpu-0"), ("gpu-node-1", "gpu-0")]


def test_devices_of_other_drivers_do_not_count() -> None:
    assert devices.published([gpu_slice("gpu-node-0", 2, driver="gpu.example.com")]) == []


def test_a_slice_without_devices_holds_none() -> None:
    empty = gpu_slice("gpu-node-0", gpus=1)
    empty.spec.devices = None
    assert devices.published([empty]) == []


def test_the_device_of_a_claim_is_found_by_pool_and_name() -> None:
    known = devices.published([gpu_slice(name, gpus=2) for name in NODES])
    found = devices.allocated(claim("c", ("gpu-node-1", "gpu-0")), known)
    assert found.uuid == gpu_uuid("gpu-node-1", 0)


@pytest.mark.parametrize(
    ("device", "found"),
    [
        (None, "no device"),
        (("gpu-node-0", "gpu-7"), "gpu-node-0/gpu-7, which is in no ResourceSlice"),
        (("gpu-node-7", "gpu-0"), "gpu-node-7/gpu-0, which is in no ResourceSlice"),
    ],
)
def test_a_claim_without_allocation_or_with_an_unknown_device_says_so(
    device: tuple[str, str] | None, found: str
) -> None:
    known = devices.published([gpu_slice("gpu-node-0", gpus=1)])
    with pytest.raises(LabError) as caught:
        devices.allocated(claim("c", device), known)
    assert str(caught.value) == found


def test_a_claim_whose_allocation_is_empty_has_no_device() -> None:
    empty = claim("c", ("gpu-node-0", "gpu-0"))
    empty.status.allocation.devices.results = []
    with pytest.raises(LabError, match=r"^no device$"):
        devices.allocated(empty, [])


# --- the memory that module 5's clients may use ---------------------------------------------------


@pytest.mark.parametrize(
    ("mib", "clients", "found"),
    [
        (1024, 3, None),
        (47923, 3, None),
        (47924, 3, "3 clients of 47924 MiB need 143772 MiB, the GPU has 143771 MiB"),
        (143772, 1, "a limit of 143772 MiB is above the 143771 MiB that the GPU has"),
    ],
)
def test_a_memory_limit_must_fit_every_gpu(
    kube: FakeKube, mib: int, clients: int, found: str | None
) -> None:
    limit = {"memoryLimit": {"mib": mib, "clients": clients}}
    finding = findings(driver.run("2", PARAMETERS | limit))["mps-memory-limit-fits"]
    assert finding["expected"] == f"{clients} times {mib} MiB"
    if found is None:
        assert (finding["status"], finding["found"]) == ("passed", "143771 MiB")
        driver.gate(GATE | limit)
        return
    assert (finding["status"], finding["found"]) == ("failed", f"gpu-node-0/gpu-0: {found}")
    with pytest.raises(LabError, match=r"^configuration key 'mpsMemoryLimit': gpu-node-0/"):
        driver.gate(GATE | limit)


def without_memory(kube: FakeKube) -> None:
    """GPUs that use the machine's memory, as the driver publishes a GB10."""
    for item in kube.slices:
        for device in item.spec.devices:
            del device.capacity["memory"]


def test_gpus_that_use_the_machines_memory_are_described_well(kube: FakeKube) -> None:
    without_memory(kube)
    assert findings(run(ownMemory=False))["device-attributes"]["status"] == "passed"
    assert failed("device-attributes") == "gpu-node-0/gpu-0 has no capacity 'memory'"


def test_a_memory_limit_means_nothing_on_gpus_that_use_the_machines_memory(kube: FakeKube) -> None:
    without_memory(kube)
    limit = {"memoryLimit": {"mib": 1024, "clients": 3}}
    finding = findings(run(devices=devices.GPU, **limit))["mps-memory-limit-fits"]
    text = "gpu-node-0/gpu-0: the GPU uses the machine's memory"
    assert finding["status"] == "failed"
    assert finding["found"].startswith(text)
    assert "mpsMemoryLimit=none" in finding["remedy"]
    with pytest.raises(
        CheckFailed, match=r"^configuration key 'mpsMemoryLimit': .*mpsMemoryLimit=none"
    ):
        driver.gate(GATE | limit)


def test_without_module_5_nobody_asks_for_memory(kube: FakeKube) -> None:
    assert "mps-memory-limit-fits" not in findings(driver.run("2", PARAMETERS))


def test_the_gate_waits_until_the_webhook_answers(
    kube: FakeKube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pod starts later than the API server begins to ask it."""
    create = "try_claim"
    kube.refusals[create] = refusal(500, "Internal Server Error", status_body("failed calling it"))
    driver.gate(GATE)
    with pytest.raises(LabError, match="failed calling it"):
        driver.gate(GATE | {"webhook": True, "seconds": 0.2})
    del kube.refusals[create]
    assert json.loads(driver.gate(GATE | {"webhook": True}))["uuid"] == gpu_uuid(NODES[0], 0)
