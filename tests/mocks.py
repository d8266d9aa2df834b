"""What each program prints that the graph runs: the real ones print objects with the same keys.

The unit tests of the graph and the golden plans answer every Command by this table, by the program
that it runs. All checks print a result, so a new one needs no entry. Any other program without an
entry is an error, not a guess.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

Told = Mapping[str, Any]
"""A program's input."""
GPU = "GPU-b83343f0-ddfa-f18f-c57a-6148685663c8"
"""The only one of this machine, or the first that a driver publishes."""


def printed(command: Mapping[str, Any], result: Told | None = None) -> dict[str, Any]:
    """What a Command with these inputs prints, parsed; result: what a check's result has in the
    place of, or beside, what one has that passed."""
    program, told = command["create"].partition(" -m ")[2], json.loads(command["stdin"])
    if program.startswith("checks ") and program not in PRINTS:
        return {**passed(told), **(result or {})}
    return PRINTS[program](told)


def passed(told: Told) -> dict[str, Any]:
    return {"module": told["module"], "status": "passed", "checks": []}


def embedded(told: Told) -> dict[str, Any]:
    return _cluster(told, "embedded", told["stack"]) | {
        "specification": dict(told), "folder": ".", "ports": {}, "processes": 6,
        "webhook": {"url": "https://127.0.0.1:1/validate", "caBundle": "Y2E="},
    }  # fmt: skip


def kind(told: Told) -> dict[str, Any]:
    return _cluster(told, "kind", f"dra-workshop-{told['stack']}") | {
        "specification": dict(told), "image": "localhost/node:1", "daemon": "d1", "nodes": [],
    }  # fmt: skip


def existing(told: Told) -> dict[str, Any]:
    """The GPU is on one node. The driver is there, unless the lab brings its own."""
    driver = {"namespace": "their", "plugin": "their-plugin", "version": "0.5.0"}
    facts = _cluster(told, "existing", told["context"]) | {
        "version": "1.37.2", "source": told["kubeconfig"], "outside": told["outside"],
        "release": told["chart"] if told["install"] else "", "domain": told["driver"],
        "lab": "of-this-lab", "nodes": {}, "looked_at": ["a-node"], "devices": "gpu",
        "driver": {} if told["install"] else driver,
    }  # fmt: skip
    del facts["seconds"]
    return facts


def host_node(told: Told) -> dict[str, Any]:
    return {
        "name": "gpu-host", "kind": "host", "specification": dict(told), "gpus": [{"uuid": GPU}],
        "driverRoot": "root-of-driver", "mocked": False, "driverVersion": "580.1",
        "supervisor": "systemd", "cluster_id": "n1", "seconds": 1.0,
    }  # fmt: skip


def gpu_host(told: Told) -> dict[str, Any]:
    """As many GPUs as are named."""
    workers = [{"gpus": [GPU] * len(subset)} for subset in told["subsets"] or [[0]]]
    facts = {"kind": "container", "gpus": [{"uuid": GPU}], "driverVersion": "580.1"}
    return {
        "workers": workers,
        "uuids": [uuid for worker in workers for uuid in worker["gpus"]],
        "facts": facts | {"mounts": told["mounts"], "notes": []},
        "needs": "digest",
    }


def _cluster(told: Told, kind: str, name: str) -> dict[str, Any]:
    return {
        "kind": kind, "name": name, "kubeconfig": f".run/{told['stack']}/kubeconfig",
        "server": "https://127.0.0.1:6443", "cluster_id": "i1", "seconds": 1.0,
    }  # fmt: skip


def nothing(_: Told) -> dict[str, Any]:
    """At most a line for people, of which the graph reads nothing."""
    return {}


PRINTS: dict[str, Callable[[Told], dict[str, Any]]] = {
    "checks gate-devices": lambda _: {"uuid": GPU, "node": "gpu-host"},
    "checks gate-gpu": nothing,
    "checks require": nothing,
    "checks verdict": nothing,
    "operations cluster create": embedded,
    "operations cluster revive": nothing,
    "operations kind create": kind,
    "operations kind revive": nothing,
    "operations existing attach": existing,
    "operations existing renew": nothing,
    "operations node make": host_node,
    "operations node revive": nothing,
    "operations gpu-host": gpu_host,
    "operations driver-profile": nothing,
    "operations leftovers": nothing,
    "operations webhook-certificate": lambda _: {"caBundle": "Y2E="},
}
