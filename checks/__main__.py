"""`python -m checks NAME`: verify one thing and print the verdict as JSON.

The graph gives the input as JSON on stdin. A program that a person can run alone (see --help)
takes its defaults instead and prints a table.

Exit code 0: there is a verdict, passed or failed. Anything else: the program itself broke; for
`require`, `verdict` and the gates, whose task it is to stop an update, also: it failed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from checks import verdict
from machine.errors import LabError
from results import output, store
from results.status import skipped
from results.status import verdict as overall
from toolchain.errors import in_words
from toolchain.numbers import option


def of(module: str, function: str = "run") -> Callable[..., Any]:
    """The function, whose module is loaded when it is called: the Kubernetes client, which most
    of them use, takes a quarter of a second, and an update waits for each program in turn."""

    def call(*arguments: Any) -> Any:
        return getattr(import_module(f"checks.{module}"), function)(*arguments)

    return call


Program = Callable[[str, dict[str, Any]], dict[str, Any]]
PROGRAMS: dict[str, Program] = {
    "prerequisites": of("prerequisites.embedded"),
    "host": of("prerequisites.host_node"),
    "workstation": of("prerequisites.kind"),
    "existing": of("prerequisites.existing"),
    "cluster": of("modules.cluster"),
    "kind-nodes": of("modules.kind_nodes"),
    "driver": of("modules.driver"),
    "exclusive": of("modules.exclusive"),
    "mps-sharing": of("modules.mps_sharing"),
    "mps-percentage": of("modules.mps_percentage"),
    "mps-memory": of("modules.mps_memory"),
}
RELEASERS: dict[str, Callable[[dict[str, Any]], None]] = {
    "exclusive": of("modules.exclusive", "release_pods"),
    "mps-sharing": of("modules.mps_sharing", "release_pods"),
    "mps-percentage": of("modules.mps_percentage", "release_pods"),
    "mps-memory": of("modules.mps_memory", "release_pods"),
}
"""What ends the pods of a check, whatever came of it: others wait for their GPU."""
WORKSTATION = ("stack", "driver", "strategy", "gpus", "workers", "nodeImage")
MOST_WORKERS = 16
STOPPERS: dict[str, Callable[[dict[str, Any]], str | None]] = {
    "gate-devices": of("modules.driver", "gate"),
    "gate-gpu": of("gpu_holders", "gate"),
    "require": lambda given: verdict.require(given["results"]),
    "verdict": verdict.weigh,
    "teardown": lambda given: json.dumps(of("teardown")("0", given)),
}


def check(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Run a check unless what it needs did not pass, and leave its result for the next update."""
    unmet = [module for module, status in given["needs"].items() if status != "passed"]
    if unmet and name not in RELEASERS:
        return skipped(given["module"], f"needs module {unmet[0]}")
    folder = store.RESULTS / given["stack"] / "checks"
    folder.mkdir(parents=True, exist_ok=True)
    record = {key: given[key] for key in ("run", "start_id", "digest")}
    # A run that is killed has used up what it looked at, and must be told from one never begun.
    store.write(folder / f"{name}.json", record | {"result": None})
    if unmet:
        RELEASERS[name](given["parameters"])
        return skipped(given["module"], f"needs module {unmet[0]}")
    result = verified(name, given["module"], given["parameters"])
    result = output.shortened(given["stack"], name, result)
    store.write(folder / f"{name}.json", record | {"result": result})
    return result


def verified(name: str, module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """What the check found. Its pods end even where it breaks off with an unexpected error."""
    try:
        return PROGRAMS[name](module, parameters)
    finally:
        if name in RELEASERS:
            RELEASERS[name](parameters)


def alone(options: argparse.Namespace) -> int:
    """Module 0 without a stack, for a person who wants to know beforehand."""
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
            asked = {name: value for name, value in given.items() if value is not None}
            if options.driver == "example":
                asked["driverChart"] = ""
            return kind.run("0", kind.defaults() | asked)
        case "existing":
            return embedded.of_operator("0", tools)
        case "host":
            from checks.prerequisites import host_node

            gpu = {"stack": options.stack, "gpu": True, "networks": {}}
            parts = [embedded.run("0", tools), host_node.run("0", gpu)]
            findings = [finding for part in parts for finding in part["checks"]]
            status = overall(finding["status"] for finding in findings)
            return {"module": "0", "status": status, "checks": findings}
        case _:
            return embedded.run("0", tools)


def _add_options_of_alone(parser: argparse.ArgumentParser) -> None:
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
    group.add_argument("--gpus", type=_names, help="kind: indices or UUIDs, with commas between")
    group.add_argument(
        "--workers", type=option(0, MOST_WORKERS), help="kind: how many worker nodes"
    )
    group.add_argument("--node-image", dest="nodeImage", help="kind: image of the nodes")


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m checks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=[*PROGRAMS, *STOPPERS])
    parser.add_argument("--input", type=Path, help="file with the input instead of stdin")
    _add_options_of_alone(parser)
    options = parser.parse_args()
    text = (
        options.input.read_text()
        if options.input
        else ("" if sys.stdin.isatty() else sys.stdin.read())
    )
    if options.name == "prerequisites" and not text.strip():
        return alone(options)
    if not text.strip():
        parser.error("this program takes its input as JSON on stdin or from --input")
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        parser.error(f"the input is no JSON: {error}")
    try:
        if options.name in PROGRAMS:
            output.write(check(options.name, given))
        else:
            output.write(STOPPERS[options.name](given) or "passed")
    except (LabError, output.OutputTooLong) as error:
        sys.stderr.write(f"{error}\n")
        if options.name in STOPPERS and options.name != "verdict":  # which keeps results itself
            verdict.refused(given["stack"], options.name, str(error).partition("\n")[0])
        return 1
    except OSError as error:
        sys.stderr.write(f"{in_words(error)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
