"""`python -m operations …`: run by Commands of the graph and by the Makefile."""

from __future__ import annotations

import argparse
import json
import sys

from operations.errors import OperationError


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="python -m operations", description=__doc__)
    groups = root.add_subparsers(dest="group", required=True)
    cluster = groups.add_parser("cluster", help="embedded clusters").add_subparsers(
        dest="action", required=True
    )
    cluster.add_parser("up", help="have one running; its specification is JSON on stdin")
    down = cluster.add_parser("down", help="stop one and remove its files")
    down.add_argument("--stack", required=True)
    return root


def run(arguments: argparse.Namespace) -> None:
    from operations import embedded

    if arguments.action == "up":
        wanted = embedded.Specification(**json.load(sys.stdin))
        sys.stdout.write(json.dumps(embedded.up(wanted)) + "\n")
    else:
        embedded.delete(arguments.stack)


def main() -> int:
    try:
        run(parser().parse_args())
    except OperationError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
