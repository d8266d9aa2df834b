"""`python -m toolchain install | bundle | kind-node-image | clean`; see `make help`."""

from __future__ import annotations

import argparse
import sys

from toolchain import clean, install
from toolchain.errors import SetupError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m toolchain", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fill = commands.add_parser("install", help="fill .tools/ and make the stacks")
    fill.add_argument("--host-node", action="store_true", help="also what a host node needs")
    fill.add_argument("--kind", action="store_true", help="also what a kind cluster needs")
    cleaning = commands.add_parser("clean", help="remove .tools/ and .venv")
    cleaning.add_argument("--cache", action="store_true", help="and the cache of tools")
    packing = commands.add_parser("bundle", help="pack the lab for a machine without network")
    packing.add_argument("--python-version", default="", help="that machine's (default: this one)")
    packing.add_argument("--part-mb", default="", help="size of a part at most (default: one file)")
    packing.add_argument("--host", default="", help="1 with, 0 without the host node's tools")
    packing.add_argument("--preset", default="", help="of xz, 0 (fast) to 9 (default: 6)")
    commands.add_parser("kind-node-image", help="build the image of kind's nodes")
    options = parser.parse_args()
    try:
        if options.command == "install":
            install.install(options.host_node, options.kind)
        elif options.command == "bundle":
            from toolchain.bundle.pack import Order, pack

            pack(Order.parse(options.python_version, options.part_mb, options.host, options.preset))
        elif options.command == "kind-node-image":
            from toolchain.kind_node.build import build

            build()
        else:
            clean.clean(options.cache)
    except SetupError as error:
        sys.stderr.write(f"set-up: error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("set-up: interrupted; run the same command again to go on\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
