"""Checks as resources: a Check verifies one module's statements, the Verdict weighs them all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi

from components import program, runs
from results.status import verdict

PROGRAMS = Path("checks")
Program = tuple[str, Mapping[str, pulumi.Input[Any]]]
"""A check program, with its parameters."""
Result = dict[str, Any]
"""A check's JSON: {"module", "status", "checks": […]} (see checks/result.py)."""


@dataclass(frozen=True, kw_only=True)
class CheckArgs:
    """program: a name in `checks/`; module: the module that it verifies.

    parameters: what the program is told, as JSON; subjects: identities (uids) of what it looks
    at, so that it runs again when they change; manifests: files with the same effect;
    needs: checks that must have passed; life: of the cluster.
    """

    program: str
    module: str
    parameters: Mapping[str, pulumi.Input[Any]] = field(default_factory=dict)
    subjects: Sequence[pulumi.Input[str]] = ()
    manifests: Sequence[Path] = ()
    needs: Sequence[Check] = ()
    start_id: str = ""


def digest_of(manifests: Sequence[Path]) -> str:
    """Changes with the check programs and with the manifests of what one of them looks at."""
    return program.digest(PROGRAMS, *manifests)


def verdicts(checks: Sequence[Check]) -> dict[str, pulumi.Output[str]]:
    """Each module of these checks, with one verdict over all its programs."""
    by_module: dict[str, list[pulumi.Output[str]]] = {}
    for check in checks:
        by_module.setdefault(check.module, []).append(check.result["status"])
    return {
        module: pulumi.Output.all(*statuses).apply(verdict)
        for module, statuses in by_module.items()
    }


class Check(pulumi.ComponentResource):
    """Runs a check program after `opts.depends_on` and hands on its result.

    result: the program's JSON. A failed verdict does not fail the graph; that is for the Gate
    and the Verdict.
    """

    result: pulumi.Output[Result]

    def __init__(self, args: CheckArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("dra-workshop:check:Check", f"check-{args.program}", None, opts)
        stack = pulumi.get_stack()
        self.module = args.module
        digest = digest_of(args.manifests)
        command = program.run(
            f"check-{args.program}",
            f"checks {args.program}",
            pulumi.Output.all(
                stack=stack,
                module=args.module,
                start_id=args.start_id,
                run=runs.run_id(stack, args.program, args.start_id, digest),
                digest=digest,
                needs=verdicts(args.needs),
                parameters=dict(args.parameters),
                subjects=list(args.subjects),
            ),
            pulumi.ResourceOptions(parent=self, depends_on=opts.depends_on),
        )
        self.result = command.stdout.apply(json.loads)
        self.register_outputs({"result": self.result})


class Gate(pulumi.ComponentResource):
    """Fails the update unless all the checks passed; `passed` is what to depend on."""

    passed: pulumi.Resource

    def __init__(
        self, name: str, checks: Sequence[Check], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("dra-workshop:check:Gate", name, None, opts)
        self.passed = program.run(
            name,
            "checks require",
            pulumi.Output.all(stack=pulumi.get_stack(), results=[check.result for check in checks]),
            pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})


class Verdict(pulumi.ComponentResource):
    """The last resource: keeps all results and, when strict, fails the update if one failed.

    No output of the stack depends on it, so a failed update still exports everything.
    """

    def __init__(
        self,
        strict: bool,
        results: Mapping[str, pulumi.Output[Result]],
        report: Mapping[str, pulumi.Input[Any]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("dra-workshop:check:Verdict", "verdict", None, opts)
        program.run(
            "verdict",
            "checks verdict",
            pulumi.Output.all(
                stack=pulumi.get_stack(),
                strict=strict,
                verification=dict(results),
                digest=program.digest(PROGRAMS),
                **report,
            ),
            pulumi.ResourceOptions(parent=self),
            # What depends on everything is removed first.
            delete=f"operations cluster removing --stack {pulumi.get_stack()}",
        )
        self.register_outputs({})
