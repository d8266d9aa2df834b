"""Module 2: the DRA driver is installed and every GPU is published."""

from components.check import Check, ModuleComponent
from components.lab_context import LabContext
from components.modules.registry import Module


def build(lab: LabContext) -> list[Check]:
    kind, profile = lab.kind_of_driver, lab.settings.gpu_profile
    parameters = {
        "kubeconfig": lab.cluster.kubeconfig,
        "namespace": lab.driver.namespace,
        "chart": kind.name,
        "plugin": lab.driver.plugin,
        "driver": kind.domain,
        "classes": lab.driver.classes,
        "clusterOwned": lab.cluster.owned,
        "driverOwned": lab.driver.owned,
        "version": lab.driver.version,
        "nodes": lab.nodes.names,
        "gpusPerNode": lab.nodes.gpus_per_node,
        "attributes": lab.driver.attributes,
        "ownMemory": profile.memory_mib is not None,
        "uuids": lab.nodes.seen,
        "devices": lab.nodes.devices,
        "mocked": list(lab.nodes.mocked),
        "target": lab.settings.target,
        "memoryLimit": lab.memory_limit,
        "consumableShares": lab.consumable_shares,
    }
    published = Check(
        ModuleComponent(MODULE, lab.checks),
        run=lab.run_of("driver"),
        parameters=parameters,
        subjects=[lab.cluster.cluster_id, *lab.driver.identity],
        # Not after the gate: where it fails, this check tells in detail what is missing.
        after=lab.driver.installed,
    )
    return [published]


MODULE = Module(
    id="2",
    stack="module2",
    title="DRA driver",
    needs=("1",),
    requires=frozenset({"driver"}),
    checks=("driver",),
    shows="NVIDIA's chart, its device classes, every GPU in a ResourceSlice",
    seconds=10,
    build=build,
)
