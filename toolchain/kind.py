"""What a cluster of kind needs, as `make setup-kind` places it in `.tools`.

Docker is not part of it, nor is the image of the nodes: kind has Docker get one from a registry, or
`make kind-node-image` builds one without (see `toolchain.kind_node`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from toolchain.images import KIND_IMAGES
from toolchain.tools import EXAMPLE_CHART_NAME, KIND_BUILT, KIND_CHARTS, KIND_RELEASES, Tool

PLACED: Sequence[Tool] = (*KIND_RELEASES, *KIND_BUILT, *KIND_IMAGES)
REMEDY = "run: make setup-kind"


def missing(tools: Path) -> list[str]:
    """The files that are not there, relative to `tools`, the folder `.tools` of a checkout.

    Programs come as bin/NAME, images as images/NAME.tar, the chart of the example driver as
    charts/dra-example-driver-VERSION/Chart.yaml.
    """
    files = [f"{tool.into}/{name}" for tool in PLACED for name in tool.places]
    files += [f"charts/{EXAMPLE_CHART_NAME}-{chart.version}/Chart.yaml" for chart in KIND_CHARTS]
    return [file for file in files if not (tools / file).exists()]
