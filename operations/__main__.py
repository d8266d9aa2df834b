"""`python -m operations …`: run by Commands of the graph and by the Makefile."""

import argparse
import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from machine.errors import LabError
from results import output
from toolchain import proxies
from toolchain.errors import in_words
from toolchain.numbers import option

CLUSTERS = {
    "cluster": ("operations.embedded.cluster", ("create", "revive", "removing", "down")),
    "node": ("operations.host_node.node", ("make", "revive", "remove")),
    "kind": ("operations.kind.cluster", ("create", "revive", "down")),
    "existing": ("operations.existing.cluster", ("attach", "renew", "detach")),
}
"""Where a kind of cluster is made and removed, and the functions there that Commands of the graph
call. Each is loaded on its own, as a Command must not load the whole program."""
REMOVE = ("down", "remove", "detach")
HELP = {
    **dict.fromkeys(
        ("create", "make", "attach"), "make it, or look at it; its specification is JSON on stdin"
    ),
    **dict.fromkeys(("revive", "renew"), "restart what ended of it; its ids are JSON on stdin"),
    **dict.fromkeys(REMOVE, "remove it, or our files of one of others"),
    "removing": "note that the removal of its lab has begun",
}
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
    for group, (_, actions) in CLUSTERS.items():
        program = groups.add_parser(group, help=", ".join(actions))
        cluster = program.add_subparsers(dest="action", required=True)
        for name in actions:
            action = cluster.add_parser(name, help=HELP[name])
            if name in (*REMOVE, "removing"):
                action.add_argument("--stack", required=True)
    groups.add_parser("gpu-host", help="what nodes in containers need of this machine's GPU driver")
    groups.add_parser("webhook-certificate", help="have one in the cluster; JSON on stdin")
    groups.add_parser("driver-profile", help="have the driver run otherwise; JSON on stdin")
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
    match options.group:
        case group if group in CLUSTERS:
            run_cluster(options)
        case "gpu-host":
            from machine import kind_gpus

            output.write(kind_gpus.summary(read_gpus(json.load(sys.stdin))))
        case "webhook-certificate":
            from operations.kind import webhook

            output.write(webhook.certify(webhook.Specification(**json.load(sys.stdin))))
        case "driver-profile":
            from operations import driver_profile

            output.write(driver_profile.use(driver_profile.Specification(**json.load(sys.stdin))))
        case "leftovers":
            from operations.stack import leftovers

            for removed in leftovers.remove(leftovers.Specification(**json.load(sys.stdin))):
                sys.stdout.write(f"{removed} removed: it is not configured any more\n")
        case "preview-diff":
            return run_preview_diff(options)
        case _:
            return run_stack(options)
    return 0


def run_stack(options: argparse.Namespace) -> int:
    from operations.stack import stacks

    stack = options.stack
    runs: dict[str, Callable[[], int | None]] = {
        "up": lambda: stacks.up(stack, options.set, options.verify),
        "preview": lambda: stacks.preview(stack),
        "destroy": lambda: stacks.destroy(stack),
        "recover": lambda: stacks.recover_alone(stack),
        "results": lambda: stacks.show_results(stack, options.json),
        "kubectl": lambda: stacks.kubectl(stack, options.arguments),
        "shell": lambda: stacks.shell(stack),
        "logs": lambda: stacks.logs(stack, options.lines),
    }
    return runs[options.group]() or 0


def run_cluster(options: argparse.Namespace) -> None:
    group, action = options.group, options.action
    if action == "removing":
        from machine import cluster_state
        from results import store

        cluster_state.begin_removal(options.stack)
        store.removed(options.stack)
        return
    program = importlib.import_module(CLUSTERS[group][0])
    perform = getattr(program, action)
    if action in REMOVE:
        perform(options.stack)
        if group != "node":  # its cluster goes on, and so do Helm releases on it
            from machine import temporary_files

            temporary_files.remove(options.stack)
        return
    given = json.load(sys.stdin)
    if action == "revive":
        perform(**given)
    elif action == "renew":
        ids = given.pop("cluster_id"), given.pop("start_id")
        perform(program.Specification(**given), *ids)
    elif group == "kind":
        output.write(create_kind(given, program))
    else:
        output.write(perform(program.Specification(**given)))


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

    return kind_gpus.describe(asked["mounts"], asked["subsets"])


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
