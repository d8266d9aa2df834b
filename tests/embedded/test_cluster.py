"""The program under the cluster Command: idempotent, self-cleaning, and killed half-way."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Any

import psutil

from tests.checkout import Checkout

STACK = "alone"
SPECIFICATION = {
    "stack": STACK,
    "kubernetes_version": "1.37.2",
    "feature_gates": [],
    "runtime_config": [],
    "stages": "",
}
CLUSTER = (".venv/bin/python", "-m", "operations", "cluster")


def run(checkout: Checkout, verb: str, given: dict[str, Any]) -> str:
    done = subprocess.run(
        [*CLUSTER, verb], cwd=checkout.folder, env=checkout.environment(), input=json.dumps(given),
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def create(checkout: Checkout) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(run(checkout, "create", SPECIFICATION))
    return facts


def revive(checkout: Checkout, facts: dict[str, Any]) -> None:
    run(checkout, "revive", {"stack": STACK, "cluster_id": facts["cluster_id"], "start_id": "2"})


def down(checkout: Checkout) -> None:
    done = checkout.run(*CLUSTER, "down", "--stack", STACK)
    assert done.code == 0, done.text
    assert checkout.processes() == []
    assert not (checkout.folder / ".run" / STACK).exists()


def test_a_second_one_takes_the_place_of_the_first_and_down_twice_is_no_error(
    checkout: Checkout,
) -> None:
    first = create(checkout)
    assert create(checkout)["cluster_id"] != first["cluster_id"]
    assert len(checkout.processes()) == 6
    down(checkout)
    down(checkout)


def test_dead_processes_are_started_again_with_their_data(checkout: Checkout) -> None:
    facts = create(checkout)
    assert checkout.kubectl(STACK, "create", "namespace", "kept").code == 0
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or [""]
        if command[0].startswith(str(checkout.folder.resolve())):
            process.kill()
    revive(checkout, facts)
    assert checkout.kubectl(STACK, "get", "namespace", "kept").code == 0
    down(checkout)


def test_one_killed_half_way_is_made_anew(checkout: Checkout) -> None:
    with subprocess.Popen(
        [*CLUSTER, "create"], cwd=checkout.folder, env=checkout.environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as begun:  # fmt: skip
        assert begun.stdin is not None
        begun.stdin.write(json.dumps(SPECIFICATION))
        begun.stdin.close()
        while not (checkout.folder / ".run" / STACK / "kwok").exists():
            assert begun.poll() is None
        begun.send_signal(signal.SIGKILL)
    assert create(checkout)["kind"] == "embedded"
    assert checkout.kubectl(STACK, "get", "--raw", "/readyz").text == "ok"
    down(checkout)


def test_nothing_listens_beyond_this_machine(checkout: Checkout) -> None:
    create(checkout)
    mark = str(checkout.folder.resolve())
    addresses = {
        connection.laddr.ip
        for process in psutil.process_iter(["cmdline"])
        if (process.info["cmdline"] or [""])[0].startswith(mark)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}
    down(checkout)


RELEASE = """
from operations.stack import half_made
print(half_made.remove_revisions("{kubeconfig}", "default", "driver", every={every}))
"""
POD = """
from operations.stack import half_made
metadata = dict(name="holder", namespace="default")
print(half_made.remove_object("{kubeconfig}", dict(apiVersion="v1", kind="Pod", metadata=metadata)))
"""


def test_what_a_killed_update_left_is_taken_back(checkout: Checkout) -> None:
    kubeconfig = create(checkout)["kubeconfig"]
    python = (".venv/bin/python", "-c")

    def revisions(*statuses: str) -> None:
        for number, status in enumerate(statuses, 1):
            name = f"sh.helm.release.v1.driver.v{number}"
            checkout.kubectl(STACK, "create", "secret", "generic", name)
            labels = ("owner=helm", "name=driver", f"status={status}")
            assert checkout.kubectl(STACK, "label", "secret", name, *labels).code == 0

    def left() -> list[str]:
        return checkout.kubectl(STACK, "get", "secrets,pods", "-o", "name").text.split()

    revisions("deployed", "pending-upgrade")
    assert checkout.run(*python, RELEASE.format(kubeconfig=kubeconfig, every=False)).text == "1\n"
    assert left() == ["secret/sh.helm.release.v1.driver.v1"]
    assert checkout.run(*python, RELEASE.format(kubeconfig=kubeconfig, every=True)).text == "1\n"
    assert left() == []

    made = checkout.kubectl(STACK, "run", "holder", "--image=none")
    assert made.code == 0, made.text
    assert checkout.run(*python, POD.format(kubeconfig=kubeconfig)).text == "1\n"
    assert left() == []
    assert checkout.run(*python, POD.format(kubeconfig=kubeconfig)).text == "0\n"
    down(checkout)
