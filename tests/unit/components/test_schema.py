"""A typo in a manifest is named by its field, which the API server would drop silently."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from components import schema

CLAIM = """
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {name: a}
spec:
  devices:
    requests:
      - name: gpu
        exactly:
          deviceClassName: gpu.nvidia.com
          count: 1
          capacity: {requests: {memory: 10Gi}}
    config:
      - requests: [gpu]
        opaque:
          driver: gpu.nvidia.com
          parameters: {anything: [goes, 1, {true: 1.5}]}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: a, labels: {b: c}}
spec:
  containers:
    - name: c
      image: i
      env: [{name: N, value: "1"}]
      ports: [{containerPort: 80}]
      livenessProbe: {httpGet: {port: http}}
      resources: {limits: {cpu: 1, memory: 1Gi}}
  volumes: [{name: v, emptyDir: {sizeLimit: 1000}}]
  hostNetwork: false
  nodeName: null
"""


def problems(text: str) -> list[str]:
    (document,) = schema.documents(text)
    return list(schema.problems(document))


@pytest.mark.parametrize("text", [CLAIM, POD])
def test_what_kubectl_takes_is_taken(text: str) -> None:
    assert problems(text) == []


@pytest.mark.parametrize(
    ("text", "old", "new", "told"),
    [
        (
            CLAIM, "count: 1", "colour: red",
            "spec.devices.requests[0].exactly.colour: there is no such field; allowed: adminAccess",
        ),
        (CLAIM, "count", "counts", "exactly.counts: there is no such field; did you mean count?"),
        (CLAIM, "count: 1", "count: '1'", "count: expected a whole number, found the text '1'"),
        (CLAIM, "count: 1", "count: 1.5", "count: expected a whole number, found 1.5"),
        (CLAIM, "opaque:", "opake:", "spec.devices.config[0].opake: there is no such field"),
        (CLAIM, "[gpu]", "gpu", "config[0].requests: expected a list, found the text 'gpu'"),
        (CLAIM, "- name: gpu\n", "- nam: gpu\n", "spec.devices.requests[0].name: it is missing"),
        (CLAIM, "/v1", "/v9", "apiVersion: Kubernetes has no resource.k8s.io/v9"),
        (CLAIM, "resource.k8s.io", "resuorce.k8s.io", "Kubernetes has no resuorce.k8s.io/v1"),
        (CLAIM, "ResourceClaim", "ResourceClam", "ResourceClam; did you mean ResourceClaim?"),
        (POD, "name: N", "nme: N", "spec.containers[0].env[0].nme: there is no such field"),
        (POD, 'value: "1"', "value: 1", "value: expected text, found 1; quote it"),
        (POD, "containerPort: 80", 'containerPort: "80"', "expected a whole number"),
        (POD, "port: http", "port: true", "port: expected a whole number or text, found true"),
        (POD, "cpu: 1", "cpu: true", "resources.limits.cpu: expected text, found true; quote it"),
        (POD, "b: c", "1: c", "metadata.labels: expected text as a key, found 1; quote it"),
        (POD, "b: c", "b: 1", "metadata.labels.b: expected text, found 1; quote it"),
        (POD, "hostNetwork: false", 'hostNetwork: "no"', "expected true or false, found the text"),
        (POD, "volumes: [", "volumes: [1, ", "spec.volumes[0]: expected fields, found 1"),
        (POD, "{limits: {cpu: 1, memory: 1Gi}}", "[]", "resources: expected fields, found a list"),
        (POD, "hostNetwork", "hostIpc", "hostIpc: there is no such field; did you mean hostIPC?"),
    ],
)  # fmt: skip
def test_a_typo_is_named_by_its_field(text: str, old: str, new: str, told: str) -> None:
    assert text.count(old) == 1 or old in ("/v1", "count", "- name: gpu\n", "ResourceClaim")
    found = problems(text.replace(old, new, 1))
    assert told in " ".join(found)


def test_all_typos_are_named_at_once() -> None:
    assert len(problems(CLAIM.replace("count", "counts").replace("opaque", "opake"))) == 2


def test_what_extends_kubernetes_is_for_its_own_api_to_judge() -> None:
    stage: dict[str, Any] = {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "any": 1}
    assert list(schema.problems(stage)) == []


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3", "a: {b: 1, b: 1}", "? [1]\n: 2\n? [1]\n: 3"])
def test_a_key_that_is_given_twice_is_refused(text: str) -> None:
    with pytest.raises(yaml.YAMLError, match="line"):
        schema.documents(text)
