"""`python -m components …`: what the program declares, for people and for other programs."""

from __future__ import annotations

import argparse
import json
import sys


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="python -m components", description=__doc__)
    commands = root.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the stacks: what each shows, needs and takes")
    settings = commands.add_parser(
        "settings", help="the keys of Pulumi.yaml, and the tables in the documents"
    ).add_mutually_exclusive_group(required=True)
    settings.add_argument("--write", action="store_true", help="write them from the declarations")
    settings.add_argument("--check", action="store_true", help="exit code 1 if one is out of date")
    commands.add_parser(
        "check-settings",
        help="whether a stack can have the settings on stdin, JSON: {key: text, …}; if not, exit "
        "code 1, and stdout says why in one line",
    ).add_argument("--stack", required=True)
    return root


def show_stacks() -> int:
    from components import stacks
    from report import results

    results.show_stacks(stacks.rows())
    return 0


def renew_files(write: bool) -> int:
    from components.generated import PARTS

    outdated = [part for part in PARTS if not part.is_current]
    for part in outdated:
        if write:
            part.write()
        else:
            sys.stderr.write(f"{part.file} is out of date; run: make docs\n")
    return 1 if outdated and not write else 0


def check_settings(stack: str) -> int:
    from components.settings import SettingsError, parse

    try:
        parse(json.load(sys.stdin), stack)
    except SettingsError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    return 0


def main() -> int:
    options = parser().parse_args()
    match options.command:
        case "list":
            return show_stacks()
        case "settings":
            return renew_files(options.write)
        case _:
            return check_settings(options.stack)


if __name__ == "__main__":
    sys.exit(main())
