"""Checks as resources: a Check verifies one module's statements, the Verdict weighs them all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi

from components import program, sources
from components.runs import Run
from machine.programs import VERDICT
from results.status import verdict

Program = tuple[str, Mapping[str, pulumi.Input[Any]]]
"""A check program, with its parameters."""
Result = dict[str, Any]
"""A check's JSON: {"module", "status", "checks": […]} (see checks/result.py)."""


@dataclass(frozen=True, kw_only=True)
class CheckArgs:
    """run: which run of which check; module: the module that it verifies.

    parameters: what the program is told, as JSON; subjects: identities (uids) of what it looks
    at, so that it runs again when they change; needs: checks that must have passed.
    """

    run: Run
    module: str
    parameters: Mapping[str, pulumi.Input[Any]] = field(default_factory=dict)
    subjects: Sequence[pulumi.Input[str]] = ()
    needs: Sequence[Check] = ()


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
        run = args.run
        super().__init__("dra-workshop:check:Check", f"check-{run.name}", None, opts)
        self.module = args.module
        command = program.run(
            f"check-{run.name}",
            f"checks {run.check}",
            pulumi.Output.all(
                stack=pulumi.get_stack(),
                module=args.module,
                start_id=run.start_id,
                run=run.id,
                digest=run.digest,
                needs=verdicts(args.needs),
                parameters=dict(args.parameters),
                subjects=list(args.subjects),
                **({"variant": run.variant} if run.variant else {}),
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
                digest=program.digest(*sources.imported_by(sources.MAIN, VERDICT)),
                **report,
            ),
            pulumi.ResourceOptions(parent=self),
            # What depends on everything is removed first.
            delete=f"operations cluster removing --stack {pulumi.get_stack()}",
        )
        self.register_outputs({})
