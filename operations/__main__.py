"""`python -m operations …`: run by Commands of the graph and by the Makefile."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from typing import Any

from machine.errors import LabError
from results import output
from toolchain import proxies
from toolchain.errors import in_words
from toolchain.numbers import option

SPECIFICATION = "; its specification is JSON on stdin"
REVIVE = "restart what ended of it; stack, cluster id, start id: JSON on stdin"
CLUSTERS = {
    "cluster": {
        "create": f"make an embedded cluster{SPECIFICATION}",
        "revive": REVIVE,
        "removing": "note that the removal of its lab has begun",
        "down": "stop it and remove its files",
    },
    "node": {
        "make": f"make a node of this machine{SPECIFICATION}",
        "revive": REVIVE,
        "remove": "end it and remove its files",
    },
    "kind": {
        "create": f"make a cluster in containers of Docker{SPECIFICATION}",
        "revive": REVIVE,
        "down": "remove it",
    },
    "existing": {
        "attach": f"look at a cluster that others run{SPECIFICATION}",
        "renew": "write its kubeconfig anew; specification, cluster id, start id: JSON on stdin",
        "detach": "remove the files of ours",
    },
}
"""What Commands of the graph do, by kind of cluster: functions of PROGRAMS, by their names."""
PROGRAMS = {
    "cluster": "operations.embedded.cluster",
    "node": "operations.host_node.node",
    "kind": "operations.kind.cluster",
    "existing": "operations.existing.cluster",
}
"""Where they are; each is loaded on its own, as a Command must not load the whole program."""
REMOVALS = ("removing", "down", "remove", "detach")
"""Actions that are given the stack by name, and no JSON."""
STACKS = {
    "up": "configure a stack, bring it up and show what was found",
    "preview": "what an update would change",
    "destroy": "remove all that a stack made",
    "recover": "settle what a killed update left (up and destroy do so by themselves)",
    "results": "what the last update of a stack found",
    "kubectl": "run kubectl on a stack's cluster",
    "shell": "a shell whose kubectl and pulumi work on a stack",
    "logs": "the end of the logs of a stack's control plane",
}


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="python -m operations", description=__doc__)
    groups = root.add_subparsers(dest="group", required=True)
    for group, actions in CLUSTERS.items():
        program = groups.add_parser(group, help=", ".join(actions))
        cluster = program.add_subparsers(dest="action", required=True)
        for name, help_text in actions.items():
            action = cluster.add_parser(name, help=help_text)
            if name in REMOVALS:
                action.add_argument("--stack", required=True)
    groups.add_parser("gpu-host", help="what nodes in containers need of this machine's GPU driver")
    groups.add_parser(
        "leftovers", help="remove from a cluster what is not configured any more; JSON on stdin"
    )
    stacks = {name: groups.add_parser(name, help=text) for name, text in STACKS.items()}
    for action in stacks.values():
        action.add_argument("--stack", required=True)
    stacks["up"].add_argument("--set", default="", help="'key=value …', written to its file")
    stacks["up"].add_argument("--verify", action="store_true", help="run every check again")
    stacks["results"].add_argument("--json", action="store_true")
    stacks["kubectl"].add_argument("--arguments", default="get pods,resourceclaims -A")
    stacks["logs"].add_argument("--lines", type=option(1), default=20)
    difference = groups.add_parser("preview-diff", help="what a change does to every stack")
    difference.add_argument("--base", default="", help="a revision to compare with")
    difference.add_argument("--stack", action="append", default=[], help="only these stacks")
    difference.add_argument("--json", action="store_true")
    return root


def run(options: argparse.Namespace) -> int:
    if options.group in PROGRAMS:
        return run_cluster(options)
    if options.group == "preview-diff":
        return run_preview_diff(options)
    if options.group == "gpu-host":
        from machine import kind_gpus

        output.write(kind_gpus.summary(read_gpus(json.load(sys.stdin))))
        return 0
    if options.group == "leftovers":
        from operations.stack import leftovers

        for removed in leftovers.remove(leftovers.Specification(**json.load(sys.stdin))):
            sys.stdout.write(f"{removed} removed: it is not configured any more\n")
        return 0
    return run_stack(options)


def run_stack(options: argparse.Namespace) -> int:
    from operations.stack import recover, stacks
    from report import results

    match options.group:
        case "up":
            return stacks.up(options.stack, options.set, options.verify)
        case "preview":
            return stacks.preview(options.stack)
        case "destroy":
            return stacks.destroy(options.stack)
        case "recover":
            stacks.require(options.stack)
            if not stacks.prepare(options.stack):
                sys.stderr.write(f"stack {options.stack}: nothing to recover\n")
        case "results":
            stacks.require(options.stack)
            if recover.held_by(options.stack):
                sys.stderr.write(
                    f"an update of stack {options.stack} is running, or was killed "
                    f"(make recover STACK={options.stack}); these results are older\n"
                )
            return results.show_latest(options.stack, as_json=options.json)
        case "kubectl":
            return stacks.kubectl(options.stack, options.arguments)
        case "shell":
            stacks.shell(options.stack)
        case "logs":
            stacks.logs(options.stack, options.lines)
    return 0


def run_cluster(options: argparse.Namespace) -> int:
    group, action = options.group, options.action
    if action == "removing":
        from machine import cluster_state
        from results import store

        cluster_state.begin_removal(options.stack)
        store.removed(options.stack)
        return 0
    program = importlib.import_module(PROGRAMS[group])
    perform = getattr(program, action)
    given = {} if action in REMOVALS else json.load(sys.stdin)
    if action in REMOVALS:
        perform(options.stack)
        if group != "node":  # its cluster goes on, and so do Helm releases on it
            from machine import temporary_files

            temporary_files.remove(options.stack)
    elif action == "revive":
        perform(**given)
    elif action == "renew":
        ids = given.pop("cluster_id"), given.pop("start_id")
        perform(program.Specification(**given), *ids)
    elif group == "kind":
        output.write(create_kind(given, program))
    else:
        output.write(perform(program.Specification(**given)))
    return 0


def create_kind(given: dict[str, Any], kind: Any) -> dict[str, Any]:
    """The facts of the cluster. host: how to ask this machine what the workers need of it."""
    from machine import kind_gpus

    if host := given.pop("host", None):
        given["workers"] = read_gpus(host)["workers"]
    facts: dict[str, Any] = kind.create(kind.Specification(**given))
    specification = facts["specification"]
    return facts | {
        "specification": specification | {"workers": kind_gpus.brief(specification["workers"])}
    }


def read_gpus(asked: dict[str, Any]) -> dict[str, Any]:
    from machine import kind_gpus

    return kind_gpus.told(asked["mounts"], asked["subsets"], asked["driver"])


def run_preview_diff(options: argparse.Namespace) -> int:
    """Exit code 1 if a stack of the working tree cannot be previewed; differences are none."""
    from rich.console import Console

    from operations.stack import preview_diff
    from report import preview_diff as report

    with Console(stderr=True).status("previewing the stacks of both sides"):
        found = preview_diff.compare(options.base, options.stack)
    report.show(found, as_json_text=options.json)
    return 1 if any(stack.status == "failed" for stack in found.stacks.values()) else 0


def main() -> int:
    os.environ.update(proxies.no_proxy_variables())
    try:
        return run(parser().parse_args())
    except (LabError, output.OutputTooLong) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"error: {in_words(error)}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on from here\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
