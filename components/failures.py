"""Lets an update go on after a failed resource, and end in one line instead of a traceback.

With PULUMI_CONTINUE_ON_ERROR the engine makes all that does not need the failed resource, and
the outputs of the failed one can be recovered. But registering a resource that depends on it
raises in the SDK (pulumi 3.259.0) as an unhandled exception, which ends the program with a
traceback before the rest, the verdict among it, is registered.

Here those registrations are counted instead. When everything else is done the program ends
with an error. It must: if it ended well, the engine would take the resources that were not
registered for removed ones and delete a running lab.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pulumi
from pulumi.runtime import rpc_manager, stack

RegistrationFailed = stack.ResourceRegistrationFailed


class _Tolerant:
    """Wraps what registers a resource; `lost` counts the dependents of failed ones."""

    def __init__(self) -> None:
        self.lost = 0
        self.do_rpc = rpc_manager.RPCManager.do_rpc
        self.wait_for_rpcs = stack.wait_for_rpcs

    def tolerate(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def registered(*args: Any, **kwargs: Any) -> Any:
            try:
                return await call(*args, **kwargs)
            except RegistrationFailed:
                self.lost += 1

        return registered


def go_on() -> None:
    """Install the tolerance; call it once, before the first resource."""
    tolerant = _Tolerant()

    def do_rpc(
        manager: rpc_manager.RPCManager, name: str, call: Callable[..., Awaitable[Any]]
    ) -> Any:
        return tolerant.do_rpc(manager, name, tolerant.tolerate(call))

    async def wait_for_rpcs(await_all_outstanding_tasks: bool = True) -> None:
        await tolerant.wait_for_rpcs(await_all_outstanding_tasks)
        if tolerant.lost:
            raise pulumi.RunError(
                f"{tolerant.lost} resources were left as they are, because one that they need "
                "failed; mend the errors above and run the same command again"
            )

    rpc_manager.RPCManager.do_rpc = do_rpc  # type: ignore[method-assign, assignment]
    stack.wait_for_rpcs = wait_for_rpcs
