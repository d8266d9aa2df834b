"""Settings of the lab as a whole, and of the pods in it that use the GPU."""

from dataclasses import dataclass
from typing import Any

from components.modules.registry import modules
from components.settings.parsers import image, one_of, require_distinct, strings, switch
from components.settings.setting import NotAllowed, setting
from toolchain.images import WORKLOAD_IMAGE

PYTHON_IMAGE = (
    "docker.io/library/python:3.13.15-slim-trixie"
    "@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285"
)
"""What the lab's pods run on a shared cluster, whose nodes have no image of set-up; for all
machines that Docker Hub has it for, x86_64 and aarch64 among them."""


def _modules(value: str, _: Any) -> tuple[str, ...]:
    ids = strings(value)
    if not ids:
        raise NotAllowed(ids, f"at least one of: {', '.join(modules())}")
    for identity in ids:
        one_of(modules(), identity)
    require_distinct(ids, "module")
    return tuple(ids)


def _image(value: str, before: Any) -> str:
    given = image(PYTHON_IMAGE.partition("@")[0], value)
    return given or (PYTHON_IMAGE if before.cluster == "existing" else WORKLOAD_IMAGE)


@dataclass(frozen=True, kw_only=True)
class LabSettings:
    """modules: those that are wanted, without what they need."""

    modules: tuple[str, ...] = setting(
        default=("0", "1", "2", "3"),
        meaning="Ids of the modules to run; what they need is added. Quote each id.",
        parse=_modules,
    )
    strict: bool = setting(
        default="true",
        meaning="Whether a failed check fails the update. "
        "Results are saved and exported either way.",
        parse=switch,
    )


@dataclass(frozen=True, kw_only=True)
class WorkloadSettings:
    workload_image: str = setting(
        meaning="Image of the pods that use the GPU: any with python3 (3.11 or later) and glibc, "
        "best by its digest. Empty: set-up's own, on an existing cluster a public Python image "
        "of Docker Hub, by its digest.",
        parse=_image,
    )
