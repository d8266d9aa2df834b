"""Module 1: a cluster that serves DRA, with its nodes ready."""

from components.check import Check, ModuleComponent, Program
from components.lab_context import LabContext
from components.modules.registry import Module


def build(lab: LabContext) -> list[Check]:
    settings = lab.settings
    ready: Program = (
        "cluster",
        {
            "kubeconfig": lab.cluster.kubeconfig,
            "clusterOwned": lab.cluster.owned,
            "kubernetesVersion": settings.kubernetes_version,
            "featureGates": list(settings.feature_gates),
            "runtimeConfig": list(settings.runtime_config),
            "nodes": lab.nodes.names,
            "devices": lab.nodes.devices,
        },
    )
    component = ModuleComponent(MODULE, lab.checks)
    subjects = [lab.cluster.cluster_id, *lab.nodes.subjects]
    return [
        Check(
            component,
            run=lab.run_of(program),
            parameters=parameters,
            subjects=subjects,
            after=lab.nodes.made,
        )
        for program, parameters in (ready, *lab.nodes.checks)
    ]


MODULE = Module(
    id="1",
    stack="module1",
    title="Cluster",
    needs=("0",),
    checks=("cluster",),
    shows="a Kubernetes that serves resource.k8s.io/v1, its nodes ready",
    seconds=7,
    build=build,
)
