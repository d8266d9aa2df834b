"""Settings of the pods that use the GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from components.settings.parsers import image
from components.settings.setting import setting
from toolchain.images import WORKLOAD_IMAGE

PYTHON_IMAGE = (
    "docker.io/library/python:3.13.15-slim-trixie"
    "@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285"
)
"""What the lab's pods run on a cluster of others, whose nodes have no image of set-up; for all
machines that Docker Hub has it for, x86_64 and aarch64 among them."""


def _image(value: str, before: Any) -> str:
    """The image that is given, else the one that nodes of such a cluster can have."""
    given = str(image(PYTHON_IMAGE.partition("@")[0])(value, before))
    return given or (PYTHON_IMAGE if before.cluster == "existing" else WORKLOAD_IMAGE)


@dataclass(frozen=True, kw_only=True)
class WorkloadSettings:
    workload_image: str = setting(
        "workloadImage",
        default="",
        meaning="Image of the pods that use the GPU: any with python3 (3.11 or later) and "
        "glibc, best by its digest. Empty: set-up's own, on an existing cluster a public "
        "Python image of Docker Hub, by its digest.",
        parse=_image,
    )
