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
    "kubernetes_version": "1.36.4",
    "feature_gates": [],
    "runtime_config": [],
}
UP = (".venv/bin/python", "-m", "operations", "cluster", "up")


def up(checkout: Checkout) -> dict[str, Any]:
    done = subprocess.run(
        UP, cwd=checkout.folder, env=checkout.environment(), input=json.dumps(SPECIFICATION),
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def down(checkout: Checkout) -> None:
    done = checkout.run(*UP[:-1], "down", "--stack", STACK)
    assert done.code == 0, done.text
    assert checkout.processes() == []
    assert not (checkout.folder / ".run" / STACK).exists()


def test_up_twice_leaves_the_same_cluster_and_down_twice_is_no_error(checkout: Checkout) -> None:
    first = up(checkout)
    assert up(checkout) == first
    assert len(checkout.processes()) == 5
    down(checkout)
    down(checkout)


def test_dead_processes_are_started_again_with_their_data(checkout: Checkout) -> None:
    first = up(checkout)
    assert checkout.kubectl(STACK, "create", "namespace", "kept").code == 0
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or [""]
        if command[0].startswith(str(checkout.folder.resolve())):
            process.kill()
    assert up(checkout) == first
    assert checkout.kubectl(STACK, "get", "namespace", "kept").code == 0
    down(checkout)


def test_one_killed_half_way_is_made_anew(checkout: Checkout) -> None:
    with subprocess.Popen(
        UP, cwd=checkout.folder, env=checkout.environment(), text=True, stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as begun:  # fmt: skip
        assert begun.stdin is not None
        begun.stdin.write(json.dumps(SPECIFICATION))
        begun.stdin.close()
        while not (checkout.folder / ".run" / STACK / "kwok").exists():
            assert begun.poll() is None
        begun.send_signal(signal.SIGKILL)
    assert up(checkout)["kind"] == "embedded"
    assert checkout.kubectl(STACK, "get", "--raw", "/readyz").text == "ok"
    down(checkout)


def test_nothing_listens_beyond_this_machine(checkout: Checkout) -> None:
    up(checkout)
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
