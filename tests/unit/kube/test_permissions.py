"""What the preflight of a shared cluster asks for, and how it says what is missing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from checks.prerequisites import existing_permissions
from checks.prerequisites.existing_permissions import needed
from components.modules.registry import modules
from kube.permissions import Permission, in_words, on, within

GIVEN = {
    "daemonNamespace": "dra-mps",
    "makes": ["create jobs.batch in dra-module5"],
    "modules": {
        name: {"namespaces": modules()[name].namespaces, "checks": modules()[name].checks}
        for name in ("0", "1", "2", "4", "5")
    },
}
ON_REAL_NODES = (
    "get pods/log in dra-module4",
    "create pods/exec in driver",
    "get pods/exec in driver",
    "list events in dra-module5",
    "watch nodes",
)


def texts(simulated: bool, driver: str = "driver") -> set[str]:
    return {str(each) for each in needed(GIVEN, driver, simulated)}


def of_module(name: str, driver: str = "driver") -> set[str]:
    """What that module's checks alone do on real nodes, beside what every lab does."""
    module = modules()[name]
    told = {"namespaces": module.namespaces, "checks": module.checks}
    nothing: dict[str, Any] = {"makes": [], "modules": {}, "daemonNamespace": ""}
    every = needed(nothing, driver, simulated=False)
    return {
        str(each)
        for each in needed(nothing | {"modules": {name: told}}, driver, simulated=False) - every
    }


def test_what_is_made_and_looked_at_is_asked_for() -> None:
    found = texts(simulated=True)
    for text in ("create jobs.batch in dra-module5", "list jobs.batch in dra-module5",
                 "patch pods in dra-module4", "get daemonsets.apps in driver",
                 "list deviceclasses.resource.k8s.io",
                 "get namespaces in kube-system"):  # fmt: skip
        assert text in found
    assert "list jobs.batch in dra-module4" not in found


def test_the_pods_of_an_mps_daemon_are_looked_at_where_the_lab_runs_one() -> None:
    assert "patch pods in dra-mps" in texts(simulated=True)
    assert not any("patch pods" in each and "dra-mps" in each for each in of_module("4"))


def test_what_only_real_nodes_need_is_asked_for_there_only() -> None:
    assert texts(simulated=False) >= {*ON_REAL_NODES}
    assert texts(simulated=True) & {*ON_REAL_NODES} == set()


def test_where_the_driver_is_not_known_it_may_be_anywhere() -> None:
    assert "create pods/exec" in texts(simulated=False, driver="")


@pytest.mark.parametrize("module", [module.id for module in modules().values() if module.needs])
def test_every_check_of_a_module_says_what_it_does(module: str) -> None:
    assert of_module(module)


def test_a_check_of_pods_reads_their_events() -> None:
    for module in ("3", "4", "5"):
        assert f"list events in dra-module{module}" in of_module(module)


def test_a_module_without_a_namespace_is_looked_at_in_the_whole_cluster() -> None:
    assert "watch nodes" in of_module("1")


def test_a_permission_is_what_its_text_says() -> None:
    for each in (*on("pods/exec", "get"), *within("ns", on("jobs", "list", group="batch"))):
        assert Permission.parse(str(each)) == each


def test_what_is_refused_is_told_with_its_verbs_and_namespaces_together() -> None:
    refused = [*within("ns", on("secrets", "list", "create")), *on("nodes", "list")]
    assert in_words(refused) == "list nodes; create, list secrets in ns"
    refused += within("b", on("secrets", "list", "create"))
    assert in_words(refused) == "list nodes; create, list secrets in b, ns"
    refused += on("secrets", "list", "create")
    assert in_words(refused) == "list nodes; create, list secrets; create, list secrets in b, ns"


@pytest.mark.parametrize(
    ("may", "refused", "asked"),
    [
        (["list pods", "get pods"], [], 2),
        (["list pods in a", "list pods in b", "get pods"], [], 4),
        (["list pods in a", "get pods"], ["list pods in b"], 4),
    ],
    ids=["everywhere", "in-each", "not-in-one"],
)
def test_what_is_allowed_everywhere_is_asked_once(
    may: list[str], refused: list[str], asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions: list[str] = []

    def review(body: Any, **_: Any) -> Any:
        about = body["spec"]["resourceAttributes"]
        question = Permission(about["resource"], about["verb"], about["group"], about["namespace"])
        questions.append(str(question))
        return SimpleNamespace(status=SimpleNamespace(allowed=str(question) in may))

    api = SimpleNamespace(create_self_subject_access_review=review)
    monkeypatch.setattr("kubernetes.client.AuthorizationV1Api", lambda _: api)
    kube: Any = SimpleNamespace(api=None)
    wanted = [*within("a", on("pods", "list", "get")), *within("b", on("pods", "list", "get"))]
    found = existing_permissions.refused(kube, wanted)
    assert [str(each) for each in found] == refused
    assert len(questions) == asked
