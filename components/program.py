"""Commands that run one of the project's own programs.

Every Command of the workshop is made here, so that all of them keep the same rules: relative
paths only, input as JSON on stdin, a digest of the program among the inputs so that a changed
program runs again, and only inputs that every version of the command plugin knows.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pulumi
from pulumi_command import local

from machine.programs import MARK, PYTHON


def digest(*paths: Path) -> str:
    """Twelve hex digits over the files, and the files in the folders, that are given."""
    content = hashlib.sha256()
    for path in _files(paths):
        content.update(str(path).encode() + b"\0" + path.read_bytes() + b"\0")
    return content.hexdigest()[:12]


def _files(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.is_file() and p.suffix != ".pyc")
        else:
            yield path


def digest_of_values(given: Mapping[str, pulumi.Input[Any]]) -> pulumi.Output[str]:
    """Twelve hex digits over values, as soon as they are known."""
    text = pulumi.Output.json_dumps(dict(given), sort_keys=True)
    return text.apply(lambda known: hashlib.sha256(known.encode()).hexdigest()[:12])


def run(
    name: str,
    program: str,
    stdin: pulumi.Input[dict[str, Any]],
    opts: pulumi.ResourceOptions,
    *,
    delete: str | None = None,
) -> local.Command:
    """A Command that runs `python -m PROGRAM`, with `stdin` as JSON, at create and at update.

    delete: the program that undoes it.
    """
    return local.Command(
        name,
        create=f"{PYTHON} -m {program}",
        delete=f"{PYTHON} -m {delete}" if delete else None,
        environment={MARK: name},
        stdin=pulumi.Output.json_dumps(stdin, sort_keys=True),
        opts=opts,
    )
