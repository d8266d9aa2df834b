"""Builds the tools and images that are neither placed in this checkout nor in the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from toolchain import build, cache, go
from toolchain.images import Image
from toolchain.placed import find_missing
from toolchain.progress import say
from toolchain.tools import BUILT, HOST_TOOLS, KIND_TOOLS, GoTool


def build_missing(tools: Sequence[GoTool], images: Sequence[Image] = ()) -> None:
    if not find_unbuilt(tools, images) and not find_missing(images):
        return
    with build.alone():
        unbuilt = find_unbuilt(tools, images)  # another set-up may have built some meanwhile
        if unbuilt:
            _compile(unbuilt)
        for image in find_missing(images):
            from toolchain import assemble  # a fifth of a second that other set-ups need not wait

            assemble.assemble(image)


def have(unbuilt: Callable[[], Sequence[GoTool]], needed: float) -> None:
    """Build tools into the cache that no checkout places, because they only go into an image.

    unbuilt: returns those that must be built. needed: GB that building them takes.
    """
    if unbuilt():
        with build.alone():
            if tools := unbuilt():  # another set-up may have built some meanwhile
                _compile(tools, needed)


def find_unbuilt(tools: Sequence[GoTool], images: Sequence[Image]) -> list[GoTool]:
    """What is to be built; what goes into an image must be in the cache, wherever else it is."""
    parts = [tool for image in find_missing(images) for tool in image.made_of]
    lacking = [tool for tool in parts if build.built(tool) is None]
    return [*lacking, *[tool for tool in find_missing(tools) if tool not in lacking]]


def _compile(tools: Sequence[GoTool], needed: float | None = None) -> None:
    if any(tool.programs for tool in tools):
        build.require_c(tools)
        needed = room_for(tools) if needed is None else needed
        cache.require_room(needed)
        minutes = sum(tool.minutes for tool in tools)
        say(
            f"building takes about {max(minutes, 1):.0f} min on two cores, "
            f"and up to {needed:.0f} GB of disk while it lasts"
        )
    compiler = go.find()
    for number, tool in enumerate(tools, 1):
        build.build(tool, compiler, f"{number} of {len(tools)}")
    cache.drop_intermediate()


def room_for(tools: Sequence[GoTool]) -> float:
    """GB that building the tools takes at most while it lasts."""
    of_host = {tool.name for tool in tools if tool in HOST_TOOLS}
    of_kind = {tool.name for tool in tools if tool in KIND_TOOLS}
    of_webhook = {tool.name for tool in tools if tool in BUILT}
    ordinary = {tool.name for tool in tools if tool.programs} - of_host - of_kind - of_webhook
    return (
        cache.NEEDED_GB * bool(ordinary)
        + cache.WEBHOOK_NEEDED_GB * bool(of_webhook and not ordinary)
        + cache.HOST_NEEDED_GB * bool(of_host)
        + cache.KIND_NEEDED_GB * bool(of_kind)
    )
