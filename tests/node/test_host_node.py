"""This machine as a node, for real: a kubelet, containerd and pods, without a GPU."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from machine import host_machine
from machine import host_node as machine_node
from machine import host_places as places
from machine.host_networks import Networks
from tests import mocks, stranger
from tests.checkout import Checkout
from tests.faults import lab
from toolchain import images

STACK = "module1"
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "seen", "namespace": "default"},
    "spec": {
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65534,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "python",
                "image": images.WORKLOAD_IMAGE,
                "imagePullPolicy": "Never",
                "command": [
                    "python3",
                    "-c",
                    "import ssl, urllib.request as r, os; "
                    "own = '/var/run/secrets/kubernetes.io/serviceaccount'; "
                    "c = ssl.create_default_context(cafile=f'{own}/ca.crt'); "
                    "h = os.environ['KUBERNETES_SERVICE_HOST']; "
                    "who = {'Authorization': 'Bearer ' + open(f'{own}/token').read()}; "
                    "asked = r.Request(f'https://{h}/version', headers=who); "
                    "print(r.urlopen(asked, context=c).status)",
                ],
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    },
}


@pytest.fixture
def host(checkout: Checkout) -> Iterator[Checkout]:
    """A stack with a host node; whatever happens, no node stays on this machine."""
    checkout.stack(STACK)
    checkout.configure(STACK, "node", "host")
    before = host_machine.noted()
    yield checkout
    lab.destroy(checkout, STACK)
    assert machine_node.leftovers() == []
    assert not any(path.exists() for path in (places.STATE, places.RUNTIME, places.KUBELET))
    assert host_machine.noted() == before


def test_pods_run_and_nothing_is_left(host: Checkout) -> None:
    lab.require_passed(host, STACK)
    outputs = host.outputs(STACK)
    assert outputs["simulated"] == "none"
    assert outputs["node"].keys() == mocks.host_node({}).keys()
    assert host.preview(STACK, "--expect-no-changes").code == 0

    run_pod(host)
    said = host.kubectl(STACK, "logs", "seen")
    assert said.text.strip() == "200"  # it reached the API server by its service address

    own = [places.STATE, places.RUNTIME, places.KUBELET, host.folder / ".run"]
    addresses = stranger.listening(places.daemons())
    assert {(Networks().api, 443), (Networks().node_address, places.KUBELET_PORT)} <= set(addresses)
    assert stranger.found(own, addresses) == []

    lab.require_clean_destroy(host, STACK)
    assert machine_node.leftovers() == []
    lab.require_clean_destroy(host, STACK)


def test_other_networks_make_another_node(host: Checkout) -> None:
    lab.require_passed(host, STACK)
    for number, network in enumerate(("172.30.0.0/20", "172.30.16.0/24", "172.30.20.0/22")):
        host.configure(STACK, f"hostNetworks[{number}]", network)

    lab.require_passed(host, STACK)

    assert host.preview(STACK, "--expect-no-changes").code == 0
    run_pod(host)
    assert host.kubectl(STACK, "logs", "seen").text.strip() == "200"
    told = host.kubectl(
        STACK, "get", "pod", "seen", "-o", "jsonpath={.status.podIP} {.status.hostIP}"
    )
    assert [ip.rpartition(".")[0] for ip in told.text.split()] == ["172.30.20", "172.30.16"]


def test_killed_daemons_are_started_again(host: Checkout) -> None:
    lab.require_passed(host, STACK)
    run_pod(host)
    for daemon in places.daemons():
        daemon.send_signal(signal.SIGKILL)
        daemon.wait(timeout=10)

    lab.require_passed(host, STACK)

    assert places.daemons_run()
    assert host.kubectl(STACK, "get", "pod", "seen").code == 0


def test_destroy_after_everything_was_killed(host: Checkout) -> None:
    lab.require_passed(host, STACK)
    run_pod(host)
    kill([*places.processes(), *host_machine.grouped()])
    lab.kill_all(host)

    lab.require_clean_destroy(host, STACK)


def test_destroy_with_a_driver_after_everything_was_killed(host: Checkout) -> None:
    """Pulumi cannot uninstall a Helm release from a cluster that is gone."""
    host.configure(STACK, "gpus", "mocked")
    host.configure(STACK, "modules[0]", "2")
    lab.require_passed(host, STACK)
    kill(places.processes())
    lab.kill_all(host)

    lab.require_clean_destroy(host, STACK)


def test_destroy_after_the_clusters_files_were_lost(host: Checkout) -> None:
    lab.require_passed(host, STACK)
    run_pod(host)
    lab.kill_all(host)
    lab.remove(host.folder / ".run")

    lab.require_clean_destroy(host, STACK)


def test_a_second_stack_is_refused_by_name(host: Checkout, tmp_path: Path) -> None:
    lab.require_passed(host, STACK)
    other = Checkout.make(tmp_path / "other")
    other.stack("module2")
    other.configure("module2", "node", "host")

    refused = lab.up(other, "module2")

    assert refused.code != 0
    assert f"belongs to stack {STACK}" in refused.text
    assert f"make destroy STACK={STACK}" in refused.text
    assert lab.destroy(other, "module2").code == 0
    assert places.daemons_run()


SHARE_AND_PUT_BACK = """
from machine import host_machine as node_machine
node_machine.own_files = list
before = node_machine.noted() | {"settings": {}, "folders": list(map(str, node_machine.SHARED))}
node_machine.share_root()
print(before["root"], node_machine.noted()["root"], end=" ")
node_machine.put_back(before)
print(node_machine.noted()["root"])
"""


@pytest.mark.parametrize(
    ("propagation", "said"),
    [("private", "private shared private"), ("shared", "shared shared shared")],
)
def test_whether_the_root_is_shared_is_put_back(propagation: str, said: str) -> None:
    """In a mount namespace of its own, where nothing of this machine changes."""
    namespace = ["unshare", "--mount", "--propagation", propagation]
    done = subprocess.run(
        [*namespace, sys.executable, "-c", SHARE_AND_PUT_BACK],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == said, done.stderr


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        if process.is_running():
            process.kill()
    psutil.wait_procs(processes, timeout=10)


def run_pod(host: Checkout) -> None:
    """Have a restricted pod run to its end."""
    path = host.folder / "pod.json"
    path.write_text(json.dumps(POD))
    assert host.kubectl(STACK, "apply", "-f", str(path)).code == 0
    ended = host.kubectl(
        STACK, "wait", "pod/seen", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s"
    )
    assert ended.code == 0, host.kubectl(STACK, "describe", "pod", "seen").text
