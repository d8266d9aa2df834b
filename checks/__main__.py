"""`python -m checks NAME`: verify one thing and print the verdict as JSON.

The graph gives the input as JSON on stdin. A program that a person can run alone (see --help)
takes its defaults instead and prints a table.

Exit code 0: there is a verdict, passed or failed. Anything else: the program itself broke; for
`require`, `verdict` and the gates, whose task it is to stop an update, also: it failed.
"""

import argparse
import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from machine.errors import LabError
from machine.files import write_json
from machine.programs import CHECKS, VERDICT, record_name
from results import output, store
from results.status import skipped
from toolchain.errors import in_words


def of(module: str, function: str = "run") -> Callable[..., Any]:
    """The function, whose module is loaded when it is called: the Kubernetes client, which most
    of them use, takes a quarter of a second, and an update waits for each program in turn. Nor is
    what only one of them imports part of the others (components/sources.py)."""

    def call(*arguments: Any) -> Any:
        return getattr(import_module(module), function)(*arguments)

    return call


ALONE = "checks.alone"
Program = Callable[[str, dict[str, Any]], dict[str, Any]]
PROGRAMS: dict[str, Program] = {name: of(module) for name, module in CHECKS.items()}
STOPPERS: dict[str, Callable[[dict[str, Any]], str | None]] = {
    "gate-devices": of(CHECKS["driver"], "gate"),
    "gate-gpu": of("checks.gpu_holders", "gate"),
    "require": lambda given: of(VERDICT, "require")(given["results"]),
    "verdict": of(VERDICT, "weigh"),
    "teardown": lambda given: json.dumps(of("checks.teardown")("0", given)),
}


def check(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Run a check unless what it needs did not pass, and leave its result for the next update.

    Where it is not run its pods end all the same: others wait for their GPU."""
    unmet = [module for module, status in given["needs"].items() if status != "passed"]
    result = skipped(given["module"], f"needs module {unmet[0]}") if unmet else None
    of_pods: Any = getattr(import_module(CHECKS[name]), "CHECK", None)
    if result and not of_pods:
        return result
    recorded = record_name(name, given.get("variant", ""))
    path = store.RESULTS / given["stack"] / "checks" / f"{recorded}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {key: given[key] for key in ("run", "start_id", "digest")}
    # A run that is killed has used up what it looked at, and must be told from one never begun.
    write_json(path, record | {"result": None})
    if result:
        of_pods.release_pods(given["parameters"])
        return result
    result = PROGRAMS[name](given["module"], given["parameters"])
    result = output.shortened(given["stack"], recorded, result)
    write_json(path, record | {"result": result})
    return result


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m checks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=[*PROGRAMS, *STOPPERS])
    parser.add_argument("--input", type=Path, help="file with the input instead of stdin")
    of(ALONE, "add_options")(parser)
    options = parser.parse_args()
    if options.input:
        text = options.input.read_text()
    else:
        text = "" if sys.stdin.isatty() else sys.stdin.read()
    if options.name == "prerequisites" and not text.strip():
        return int(of(ALONE)(options))
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
            reason = str(error).partition("\n")[0]
            of(VERDICT, "refused")(given["stack"], options.name, reason)
        return 1
    except OSError as error:
        sys.stderr.write(f"{in_words(error)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
