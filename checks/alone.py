"""Module 0 without a stack, for a person who wants to know beforehand."""

import argparse
import json
import sys
from typing import Any

from results.status import merged_results
from toolchain.numbers import option

WORKSTATION = ("stack", "driver", "strategy", "gpus", "workers", "nodeImage")
MOST_WORKERS = 16


def run(options: argparse.Namespace) -> int:
    """Print what it found; returns 1 unless it passed."""
    result = _of_cluster(options)
    if options.json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
    else:
        from report.results import show

        show({"0": result})
    return 0 if result["status"] == "passed" else 1


def _of_cluster(options: argparse.Namespace) -> dict[str, Any]:
    from checks.prerequisites import embedded

    tools = embedded.defaults() | {"stack": options.stack}
    match options.cluster:
        case "kind":
            from checks.prerequisites import kind

            given = {name: getattr(options, name) for name in WORKSTATION}
            given["mocked"] = options.mocked
            asked = {name: value for name, value in given.items() if value is not None}
            if options.driver == "example":
                asked["driverChart"] = ""
            return kind.run("0", kind.defaults() | asked)
        case "existing":
            return embedded.of_operator("0", tools)
        case "host":
            from checks.prerequisites import host_node

            gpu = {"stack": options.stack, "gpu": True, "networks": {}}
            gpu["gpus"] = "mocked" if options.mocked else "real"
            return merged_results([embedded.run("0", tools), host_node.run("0", gpu)])
        case _:
            return embedded.run("0", tools)


def add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("prerequisites alone")
    group.add_argument("--json", action="store_true", help="JSON, no table")
    group.add_argument(
        "--cluster",
        choices=["embedded", "kind", "existing", "host"],
        default="embedded",
        help="what the lab is to run on; host: embedded, with this machine as its node",
    )
    group.add_argument("--stack", default="dev", help="whose name the cluster is to have")
    group.add_argument("--driver", choices=["nvidia", "example"], help="kind: the DRA driver")
    group.add_argument(
        "--strategy", choices=["toolkit", "cdi"], help="kind: how a node gets the GPU driver"
    )
    group.add_argument(
        "--gpus",
        type=lambda text: [*filter(None, text.split(","))],
        help="kind: indices or UUIDs, with commas between",
    )
    group.add_argument("--mocked", action="store_true", help="kind, host: with mocked GPUs")
    group.add_argument(
        "--workers", type=option(0, MOST_WORKERS), help="kind: how many worker nodes"
    )
    group.add_argument("--node-image", dest="nodeImage", help="kind: image of the nodes")
