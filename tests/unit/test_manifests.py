"""Manifests are loaded whole or refused by file; those of the modules keep the project's rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components import manifests
from components.gpu_node import gpu_uuid
from components.modules.module3 import in_run, naming, unawaited

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
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(manifests.ManifestError, match=reason):
        manifests.load("m", write(tmp_path, text))


def test_a_folder_without_manifests_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(manifests.ManifestError, match="no manifests there"):
        manifests.load("nothing", tmp_path)


def module3() -> dict[str, Any]:
    return manifests.load("module3")


def test_module3_names_the_first_simulated_gpu_as_the_stack_does_by_default() -> None:
    uuid = gpu_uuid("gpu-node-0", 0)
    for name in ("claim-1", "claim-2"):
        claim = module3()[f"ResourceClaim/{name}"]
        assert naming(claim, uuid) == claim


def test_another_gpu_is_named_without_touching_the_manifest() -> None:
    claim = module3()["ResourceClaim/claim-1"]
    named = naming(claim, "GPU-other")
    (request,) = named["spec"]["devices"]["requests"]
    assert "GPU-other" in request["exactly"]["selectors"][0]["cel"]["expression"]
    assert "GPU-other" not in str(claim)


def test_pods_of_a_run_differ_only_in_its_id_and_waiting_ones_are_not_awaited() -> None:
    pod = module3()["Pod/pod-2"]
    patched = unawaited(in_run(pod, "run-7"))  # type: ignore[arg-type]
    assert patched["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}
    (container,) = patched["spec"]["containers"]
    assert container["env"] == [{"name": "DRA_WORKSHOP_RUN", "value": "run-7"}]
    assert "env" not in pod["spec"]["containers"][0]


@pytest.mark.parametrize("name", ["pod-1", "pod-2"])
def test_pods_meet_the_restricted_security_level(name: str) -> None:
    spec = module3()[f"Pod/{name}"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostIPC", "hostPID", "hostNetwork"} & set(spec)
    assert not any("hostPath" in volume for volume in spec["volumes"])
    for container in spec["containers"]:
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
