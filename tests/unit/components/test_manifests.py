"""Manifests are loaded whole or refused by file; those of the modules keep the project's rules."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components import manifests
from components.drivers import DRIVERS
from components.modules.module5 import limit_claim
from components.mps_clients import granted_sizes, refused_sizes, set_limit, set_sizes
from components.simulated_gpus import gpu_uuid
from components.workload import BENCHMARK, INSPECT, add_run, claim_for_gpu, pod_of, skip_await
from workloads import gpu_benchmark

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"


def write(root: Path, text: str, name: str = "a.yaml") -> Path:
    (root / "m").mkdir(exist_ok=True)
    (root / "m" / name).write_text(text)
    return root


def test_objects_come_in_file_order(tmp_path: Path) -> None:
    write(tmp_path, POD.replace("name: a", "name: b"), "2.yaml")
    write(tmp_path, f"{POD}---\n{POD.replace('Pod', 'ConfigMap')}", "1.yaml")
    assert list(manifests.load("m", tmp_path)) == ["Pod/a", "ConfigMap/a", "Pod/b"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "a.yaml"),
        ("kind: Pod\nmetadata: {name: a}", "lacks apiVersion, kind or metadata.name"),
        ("apiVersion: v1\nkind: Pod", "lacks apiVersion, kind or metadata.name"),
        ("- 1", "lacks apiVersion, kind or metadata.name"),
        (f"{POD}---\n{POD}", "Pod/a is defined twice"),
        (f"{POD}metadata: {{name: b}}", "'metadata' is given twice\n.*line 4, column 1"),
        (f"{POD}specs: {{}}", "a.yaml: Pod/a: specs: there is no such field; did you mean spec?"),
        (f"{POD}spec: {{containers: []}}\ncolour: red\nshape: round", "Pod/a: colour: .*shape: "),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(manifests.ManifestError, match=f"(?s){reason}"):
        manifests.load("m", write(tmp_path, text))


NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: m}\n---\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (POD.replace("a}", "a, namespace: default}"), "Pod/a: metadata.namespace: found default"),
        (POD, "Pod/a: metadata.namespace: found none, expected m; correct the manifest"),
        (
            POD.replace("Pod", "Node").replace("a}", "a, namespace: m}"),
            "Node/a: metadata.namespace: found m, expected none",
        ),
    ],
)
def test_an_object_outside_the_namespace_of_its_module_is_refused_with_file_and_key(
    tmp_path: Path, text: str, reason: str
) -> None:
    write(tmp_path, NAMESPACE + text)
    with pytest.raises(manifests.ManifestError, match=f"a.yaml: {reason}"):
        manifests.require(["nothing", "m"], tmp_path)


def test_an_object_in_the_namespace_of_its_module_is_taken(tmp_path: Path) -> None:
    write(tmp_path, NAMESPACE + POD.replace("a}", "a, namespace: m}"))
    manifests.require(["m"], tmp_path)


def test_a_folder_without_manifests_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(manifests.ManifestError, match="no manifests there"):
        manifests.load("nothing", tmp_path)


def test_an_object_that_the_module_needs_is_named(tmp_path: Path) -> None:
    objects = manifests.load("m", write(tmp_path, POD))
    with pytest.raises(manifests.ManifestError, match="m: the module needs Pod/b; found: Pod/a"):
        objects["Pod/b"]


NVIDIA = DRIVERS["nvidia"]


def module3() -> dict[str, Any]:
    return manifests.load("module3")


def test_module3_names_the_first_simulated_gpu_as_the_stack_does_by_default() -> None:
    uuid = gpu_uuid("gpu-node-0", 0)
    for name in ("claim-1", "claim-2"):
        claim = module3()[f"ResourceClaim/{name}"]
        assert claim_for_gpu(claim, uuid, NVIDIA) == claim


def test_another_gpu_is_named_without_touching_the_manifest() -> None:
    claim = module3()["ResourceClaim/claim-1"]
    named = claim_for_gpu(claim, "GPU-other", NVIDIA)
    (request,) = named["spec"]["devices"]["requests"]
    assert "GPU-other" in request["exactly"]["selectors"][0]["cel"]["expression"]
    assert "GPU-other" not in str(claim)


def test_another_driver_has_another_class_and_names_its_devices_by_its_own_domain() -> None:
    named = claim_for_gpu(module3()["ResourceClaim/claim-1"], "gpu-1", DRIVERS["example"])
    (request,) = named["spec"]["devices"]["requests"]
    assert request["exactly"]["deviceClassName"] == "gpu.example.com"
    expression = request["exactly"]["selectors"][0]["cel"]["expression"]
    assert expression == 'device.attributes["gpu.example.com"].uuid == "gpu-1"'


def test_pods_of_a_run_differ_only_in_its_id_and_waiting_ones_are_not_awaited() -> None:
    pod = module3()["Pod/pod-2"]
    patched = skip_await(add_run(pod, "run-7"))
    assert patched["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}
    (container,) = patched["spec"]["containers"]
    assert container["env"] == [{"name": "DRA_WORKSHOP_RUN", "value": "run-7"}]
    assert "env" not in pod["spec"]["containers"][0]


def test_a_gpu_that_is_known_later_is_named_when_it_is_known() -> None:
    async def named() -> Any:
        uuid = pulumi.Output.from_input("GPU-real")
        claim = claim_for_gpu(module3()["ResourceClaim/claim-1"], uuid, NVIDIA)
        (request,) = claim["spec"]["devices"]["requests"]
        return await request["exactly"]["selectors"][0]["cel"]["expression"].future()

    assert asyncio.run(named()).endswith('.uuid == "GPU-real"')


def test_module5_is_as_the_stack_makes_it_by_default() -> None:
    objects = manifests.load("module5")
    for name, limits in (("percentage-100", (100, None)), ("share", (20, None))):
        claim = objects[f"ResourceClaim/{name}"]
        assert limit_claim(claim, *limits) == claim
    claim = objects["ResourceClaim/memory"]
    assert limit_claim(claim, 20, "1Gi") == claim
    small, large = granted_sizes(1024), refused_sizes(1024)
    assert (small, large) == ([256, 512], [1100, 2048])
    allocator, raiser, escaper = (objects[f"Pod/{n}"] for n in ("allocator", "raiser", "escaper"))
    assert set_sizes(allocator, [*small, *large]) == allocator
    assert set_limit(set_sizes(raiser, large), "0=65536M") == raiser
    assert set_limit(set_sizes(escaper, large[1:]), "0=2048M,1=4096M") == escaper


def test_clients_of_one_mps_daemon_have_one_user() -> None:
    """Those of the DaemonSet's too, but for the one that shows what becomes of another user."""
    users = {name: spec["securityContext"]["runAsUser"] for name, spec in pods().items()}
    assert users.pop("module4/Pod/other-user") == 65533
    assert {*users.values()} == {65534}


def test_benchmarks_are_started_with_arguments_that_they_know() -> None:
    commands = [spec["containers"][0]["command"] for spec in pods().values()]
    benchmarks = [c for c in commands if c[1] == "/workshop/gpu_benchmark.py"]
    assert len(benchmarks) == 11
    for command in benchmarks:
        options = gpu_benchmark.parse_arguments(command[2:])
        assert options.exit_zero, "what went wrong is for the check to judge"
        assert options.measure or options.allocate


@pytest.mark.parametrize(("files", "arguments"), [(BENCHMARK, ["--help"]), (INSPECT, [])])
def test_the_files_that_a_pod_mounts_are_all_that_its_program_needs(
    tmp_path: Path, files: tuple[str, ...], arguments: list[str]
) -> None:
    for name in files:
        shutil.copy(Path("workloads") / f"{name}.py", tmp_path)
    (tmp_path / "annotations").write_text('dra-workshop/release="true"\n')
    done = subprocess.run(
        [sys.executable, str(tmp_path / f"{files[0]}.py"), *arguments],
        cwd="/", env={"DRA_WORKSHOP_ANNOTATIONS": str(tmp_path / "annotations")},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def pods() -> dict[str, Any]:
    """Every pod, and every Job's, of the modules that run some: folder/Kind/name → spec."""
    return {
        f"{folder}/{key}": pod_of(manifest)["spec"]
        for folder in ("module3", "module4", "module5")
        for key, manifest in manifests.load(folder).items()
        if manifest["kind"] in ("Pod", "Job")
    }


def test_the_mps_daemon_may_do_what_its_manifest_lists_and_no_more() -> None:
    """The list is in manifests/mps-daemon/20-daemonset.yaml and docs/sharing.md."""
    spec = pod_of(manifests.load("mps-daemon")["DaemonSet/mps-daemon"])["spec"]
    assert not {"hostPID", "hostIPC", "hostNetwork", "serviceAccountName"} & spec.keys()
    assert spec["automountServiceAccountToken"] is False
    hosts = [volume["hostPath"]["path"] for volume in spec["volumes"] if "hostPath" in volume]
    assert hosts == ["/run/dra-workshop/mps"]
    (reserve,), (daemon,) = spec["initContainers"], spec["containers"]
    for container in (reserve, daemon):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert not security["allowPrivilegeEscalation"]
        assert "privileged" not in security
        assert security["capabilities"]["drop"] == ["ALL"]
    assert reserve["securityContext"]["capabilities"]["add"] == ["CHOWN", "SYS_ADMIN"]
    assert "add" not in daemon["securityContext"]["capabilities"]
    assert daemon["securityContext"]["runAsUser"] == 65534


def test_clients_of_the_daemonset_may_not_change_its_pipe_directory() -> None:
    for name in ("client-1", "client-2", "other-user"):
        (container,) = manifests.load("module4")[f"Pod/{name}"]["spec"]["containers"]
        mounts = {each["name"]: each for each in container["volumeMounts"]}
        assert mounts["pipe"]["readOnly"] is True
        paths = {each["name"]: each["value"] for each in container["env"]}
        assert paths["CUDA_MPS_PIPE_DIRECTORY"] == "/mps/pipe", "not one that toolkits mount"


@pytest.mark.parametrize("name", pods())
def test_pods_meet_the_restricted_security_level(name: str) -> None:
    spec = pods()[name]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostIPC", "hostPID", "hostNetwork"} & set(spec)
    assert not any("hostPath" in volume for volume in spec["volumes"])
    for container in spec["containers"]:
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
