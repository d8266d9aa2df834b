"""`python -m components …`: what the program declares, for people and for other programs."""

import argparse
import json
import sys


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="python -m components", description=__doc__)
    commands = root.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the stacks: what each shows, needs and takes")
    commands.add_parser(
        "settings", help="write the keys of Pulumi.yaml, and the tables in the documents"
    )
    commands.add_parser(
        "check-settings",
        help="whether a stack can have the settings on stdin, JSON: {key: text, …}; if not, exit "
        "code 1, and stdout says why in one line",
    ).add_argument("--stack", required=True)
    return root


def show_stacks() -> None:
    from components import generated
    from report import results

    results.show_stacks(generated.stacks())


def write_parts() -> None:
    from components.generated import PARTS

    for part in PARTS:
        part.write()


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
    if options.command == "check-settings":
        return check_settings(options.stack)
    if options.command == "list":
        show_stacks()
    else:
        write_parts()
    return 0


if __name__ == "__main__":
    sys.exit(main())
