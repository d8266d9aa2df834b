"""Module 0 where a mocked GPU driver takes the place of a real one: on a host node, on kind."""

from functools import partial

from checks.prerequisites import statements
from checks.prerequisites.statements import refuse
from checks.result import CheckFailed, Checklist
from machine import gpu_host
from toolchain import host
from toolchain.errors import SetupError
from toolchain.images import DRIVER
from toolchain.layout import TOOLS
from toolchain.mocked_driver import build

TITLES = {
    "mocked-driver": "the mocked GPU driver can be compiled",
    "driver-image": "the image of NVIDIA's DRA driver is installed",
    "no-gpu-driver": "this machine has no GPU driver whose GPUs mocked ones could be taken for",
}
REMEDIES = {
    "mocked-driver": "see what was found",
    "driver-image": host.REMEDY,
    "no-gpu-driver": "set gpus=real, or use a machine without a GPU driver",
}


def add(checklist: Checklist) -> None:
    verify = partial(statements.verify, checklist, TITLES, REMEDIES)
    verify("mocked-driver", _compiler, "a C compiler")
    image = TOOLS / DRIVER.into / DRIVER.file
    missing = [f"{DRIVER.into}/{DRIVER.file}"] * (not image.exists())
    verify("driver-image", lambda: refuse(missing, "missing: "), DRIVER.reference)
    places = (*gpu_host.KERNEL_DRIVER, gpu_host.TEGRA_RELEASE)
    found = [str(path) for path in places if path.exists()]
    verify("no-gpu-driver", lambda: refuse(found, "a GPU driver is loaded: ", "none"), "none")


def _compiler() -> str:
    try:
        return "compiled" if build.place().exists() else " ".join(build.require_compiler())
    except SetupError as error:
        raise CheckFailed(str(error)) from error
