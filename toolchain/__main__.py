"""`python -m toolchain install | clean`; see `make help`."""

from __future__ import annotations

import argparse
import sys

from toolchain import install
from toolchain.errors import SetupError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m toolchain", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("install", help="fill .tools/ and make the stacks")
    clean = commands.add_parser("clean", help="remove .tools/ and .venv")
    clean.add_argument("--cache", action="store_true", help="and the cache of tools")
    options = parser.parse_args()
    try:
        if options.command == "install":
            install.install()
        else:
            install.clean(options.cache)
    except SetupError as error:
        sys.stderr.write(f"set-up: error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("set-up: interrupted; run the same command again to go on\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
