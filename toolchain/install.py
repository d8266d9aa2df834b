"""Fills `.tools/` of this checkout and makes its stacks; a second run finds all of it done.

A tool is taken from PATH, else as its project releases it, else it is built; DRA_WORKSHOP_TOOLCHAIN
in the environment (`make TOOLCHAIN=…`) forces one of the latter two. What was placed once is used
from then on, so that nobody is asked again before every command.
"""

from __future__ import annotations

import platform
import sys
import time

from toolchain import layout, on_path, placed, plugins, releases, stacks
from toolchain.build_missing import build_missing, have
from toolchain.errors import SetupError
from toolchain.images import IMAGES, KIND_IMAGES
from toolchain.layout import TOOLS
from toolchain.mode import AUTO, read_mode
from toolchain.placed import link
from toolchain.progress import say
from toolchain.tools import (
    BUILT,
    CHARTS,
    HOST_BUILT,
    HOST_RELEASES,
    KIND_BUILT,
    KIND_CHARTS,
    KIND_RELEASES,
    PLUGINS,
    PULUMI_PLUGINS,
    RELEASES,
)

# `toolchain.kind_node` takes the others from here; the image's name holds a digest of its source.
__all__ = ["TOOLS", "have", "install", "link"]
PLATFORMS = ("linux-x86_64", "linux-aarch64", "darwin-x86_64", "darwin-arm64")
UNTESTED = PLATFORMS[1:]


def install(host_node: bool = False, kind: bool = False) -> None:
    """Everything that a plain `pulumi up` of an embedded stack needs.

    host_node: also what makes this machine a node of a cluster, tools and images.
    kind: also what a cluster of kind needs, but for Docker and the image of its nodes.
    Raises SetupError with a remedy; what was done by then stays and is not done again.
    """
    started = time.monotonic()
    mode = read_mode()
    _require_platform(host_node, kind)
    _make_folders()
    images = [*IMAGES * host_node]
    images += [image for image in KIND_IMAGES * kind if image not in images]
    charts = [*CHARTS, *KIND_CHARTS * kind]
    wanted = [*RELEASES, *HOST_RELEASES * host_node, *KIND_RELEASES * kind]
    if mode == AUTO:
        wanted = [release for release in wanted if not on_path.serves(release)]
    released, changed = releases.place(wanted, mode)
    built = [tool for release in wanted if release not in released for tool in release.instead_of]
    built += [*BUILT, *HOST_BUILT * host_node, *KIND_BUILT * kind]
    build_missing([*built, *charts], images)
    own_plugins = [plugin for plugin, (_, tool) in PLUGINS.items() if tool in built]
    changed += [
        *[placed.place(tool) for tool in (*built, *images) if tool not in PULUMI_PLUGINS],
        *[placed.place_chart(chart) for chart in charts],
        placed.place_kubectl(),
        stacks.write_environment(own_plugins=bool(own_plugins)),
        *[plugins.place(plugin) for plugin in own_plugins],
        stacks.make_stacks(),
    ]
    if any(changed):
        say(f"ready ({time.monotonic() - started:.0f} s)")


def _require_platform(host_node: bool = False, kind: bool = False) -> None:
    name = f"{sys.platform}-{platform.machine()}"
    if name not in PLATFORMS:
        raise SetupError(f"platform {name} is not supported; these are: {', '.join(PLATFORMS)}")
    if name in UNTESTED and not layout.BIN.exists():
        say(f"platform {name} builds from the same sources as linux-x86_64 but is untested")
    if sys.platform != "linux" and (host_node or kind):
        raise SetupError(
            f"{'a host node' if host_node else 'set-up for kind'} needs Linux, and this is "
            f"{sys.platform}; `make setup` has all that the embedded cluster needs"
        )


def _make_folders() -> None:
    state = layout.ROOT / ".state"
    for folder in (layout.BIN, layout.PULUMI_HOME, state):
        folder.mkdir(parents=True, exist_ok=True)
    state.chmod(0o700)  # what a lab is made of is its owner's
