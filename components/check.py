"""Checks as resources: a Check verifies one module's statements, the Verdict weighs them all."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from components import program, sources
from components.modules.registry import Module
from components.runs import Run
from machine.programs import VERDICT
from results.status import verdict

Program = tuple[str, Mapping[str, pulumi.Input[Any]]]
"""A check program, with its parameters."""
Result = dict[str, Any]
"""A check's JSON: {"module", "status", "checks": […]} (see checks/result.py)."""


class ModuleComponent(pulumi.ComponentResource):
    """The parent of all that one module makes.

    checks: of the modules before it; needs: the verdict of each module that it needs.
    """

    def __init__(self, module: Module, checks: "Mapping[str, Sequence[Check]]") -> None:
        former = pulumi.Alias(type_="dra-workshop:modules:Chapter")  # in labs of earlier versions
        opts = pulumi.ResourceOptions(aliases=[former])
        super().__init__("dra-workshop:modules:Module", module.stack, None, opts)
        self.module = module
        self.needs = {
            need: pulumi.Output.all(*(check.result["status"] for check in checks[need])).apply(
                verdict
            )
            for need in module.needs
        }
        self.register_outputs({})


class Check(pulumi.ComponentResource):
    """Runs a check program of a module and hands on its result.

    run: which run of which check; parameters: of the program, as JSON; subjects: identities (uids)
    of what it looks at, so that it runs again when they change; after: what it waits for.

    result: the program's JSON. A failed verdict does not fail the graph; that is for the Gate
    and the Verdict.
    """

    def __init__(
        self,
        component: ModuleComponent,
        *,
        run: Run,
        parameters: Mapping[str, pulumi.Input[Any]],
        subjects: Sequence[pulumi.Input[str]] = (),
        after: Sequence[pulumi.Resource] = (),
    ) -> None:
        opts = pulumi.ResourceOptions(parent=component, depends_on=list(after))
        super().__init__("dra-workshop:check:Check", f"check-{run.name}", None, opts)
        command = program.run(
            f"check-{run.name}",
            f"checks {run.check}",
            pulumi.Output.all(
                stack=pulumi.get_stack(),
                module=component.module.id,
                start_id=run.start_id,
                run=run.id,
                digest=run.digest,
                needs=component.needs,
                parameters=dict(parameters),
                subjects=list(subjects),
                **({"variant": run.variant} if run.variant else {}),
            ),
            pulumi.ResourceOptions(parent=self, depends_on=list(after)),
        )
        self.result: pulumi.Output[Result] = command.stdout.apply(json.loads)
        self.register_outputs({"result": self.result})


class Gate(pulumi.ComponentResource):
    """Fails the update unless all the checks passed; `passed` is what to depend on."""

    def __init__(self, name: str, checks: Sequence[Check]) -> None:
        super().__init__("dra-workshop:check:Gate", name)
        self.passed: pulumi.Resource = program.run(
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
    ) -> None:
        super().__init__("dra-workshop:check:Verdict", "verdict")
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
