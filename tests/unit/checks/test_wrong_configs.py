"""Wrong configurations are tried, and nothing stays of that."""

from __future__ import annotations

from typing import Any, cast

import pytest

from checks import wrong_configs
from checks.pod_scenario import RETRIED
from checks.result import CheckFailed, CheckSkipped
from checks.wrong_configs import FAILED, WrongConfigs
from kube.errors import KubeError
from tests.unit.fake_kube import DENIED, FORBIDDEN, NAMESPACE, FakeKube, claim, event, pod
from tests.unit.stage import play

FIRST, SECOND = wrong_configs.WRONG
WORDS = "strict decoding error"


class Cluster(FakeKube):
    """With the module's claim and pod, and on demand a webhook that knows of the first."""

    def __init__(self, *, webhook: bool) -> None:
        refused = event(RETRIED, "wrong-config", message=f"kubelet: {FAILED}{WORDS}")
        super().__init__(claims=[claim("own")], pods=[pod("own", "Succeeded")], events=[refused])
        self.webhook = webhook
        self.tried: list[dict[str, Any]] = []

    def get(self, read: Any, *arguments: Any, **options: Any) -> Any:
        if options.get("dry_run"):
            assert options["dry_run"] == "All"
            self.tried.append(arguments[1])
            if arguments[1]["metadata"]["name"] in self.names():
                raise KubeError("409 AlreadyExists")  # as the real one, also where it is only tried
            known = self.webhook and len(self.tried) == 1
            self.refusals = {"try_claim": DENIED} if known else {}
        return super().get(read, *arguments, **options)

    def names(self) -> list[str]:
        return [item.metadata.name for item in (*self.claims, *self.pods)]


def look(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, *, prepares: bool, webhook: bool = False
) -> str:
    play(cluster, monkeypatch, wrong_configs)
    wrong = WrongConfigs(cast(Any, cluster), NAMESPACE, prepares=prepares, webhook=webhook)
    return wrong.refused("own", "own")


@pytest.mark.parametrize(
    ("webhook", "prepares", "found"),
    [
        (
            True,
            True,
            f"at admission, {FIRST}: unknown strategy; at prepare, {SECOND}: {WORDS}",
        ),
        (
            True,
            False,
            f"at admission, {FIRST}: unknown strategy; "
            f"found only at prepare, which is not tried here: {SECOND}",
        ),
        (False, True, f"at prepare, {FIRST}: {WORDS}; at prepare, {SECOND}: {WORDS}"),
    ],
)
def test_it_says_where_each_is_refused_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, webhook: bool, prepares: bool, found: str
) -> None:
    cluster = Cluster(webhook=webhook)
    assert look(cluster, monkeypatch, prepares=prepares) == found
    assert cluster.names() == ["own", "own"]
    configs = [each["spec"]["devices"]["config"][0]["opaque"] for each in cluster.tried]
    tried = [each["parameters"]["sharing"] for each in configs]
    assert tried == [*wrong_configs.WRONG.values()]


def test_where_nothing_can_refuse_them_it_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(webhook=False)
    with pytest.raises(CheckSkipped, match=r"no webhook of NVIDIA's, and no claim is prepared"):
        look(cluster, monkeypatch, prepares=False)
    assert cluster.names() == ["own", "own"]


def test_a_node_that_prepares_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(webhook=False)
    cluster.events = []
    with pytest.raises(CheckFailed, match=rf"{FIRST}: no node refused it within 30 s"):
        look(cluster, monkeypatch, prepares=True)
    assert cluster.names() == ["own", "own"]


@pytest.mark.parametrize("prepares", [True, False])
def test_a_webhook_that_lets_it_pass_fails(monkeypatch: pytest.MonkeyPatch, prepares: bool) -> None:
    with pytest.raises(CheckFailed, match=rf"NVIDIA's webhook let {FIRST} pass"):
        look(Cluster(webhook=False), monkeypatch, prepares=prepares, webhook=True)


def test_what_keeps_the_pod_for_another_reason_is_no_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster(webhook=False)
    cluster.events[0].message = "the driver is not registered"
    with pytest.raises(CheckFailed, match="no node refused it"):
        look(cluster, monkeypatch, prepares=True)


def test_what_a_killed_check_left_is_removed_first(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(webhook=True)
    cluster.claims.append(claim("wrong-config"))
    cluster.pods.append(pod("wrong-config", "Failed"))
    assert WORDS in look(cluster, monkeypatch, prepares=True)
    assert cluster.names() == ["own", "own"]


def test_another_answer_of_the_api_server_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(webhook=False)
    cluster.refusals["list_namespaced_resource_claim"] = FORBIDDEN
    with pytest.raises(KubeError, match="403 you may not"):
        look(cluster, monkeypatch, prepares=False)
