"""The images of a host node and of kind: their names, and what decides what is in them.

No registry is needed for them: `toolchain.assemble` makes them of programs that set-up has built
and of files of this machine. This module only describes them, so that anything may import it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from toolchain.errors import SetupError
from toolchain.tools import (
    DRA_WEBHOOK,
    DRIVER_PLUGIN,
    DRIVER_PLUGIN_VERSION,
    EXAMPLE_DRIVER,
    EXAMPLE_DRIVER_VERSION,
    NVIDIA_TOOLKIT,
    PAUSE,
    GoTool,
    Tool,
)

WORKLOAD_IMAGE = "localhost/dra-workshop/workload:1"
"""Python for the pods of the modules; `python3` is on PATH. It is made to run as user 65534 on a
read-only root."""
PAUSE_IMAGE = "localhost/dra-workshop/pause:1"
"""What containerd runs as the sandbox of every pod."""
DRIVER_IMAGE = f"registry.k8s.io/dra-driver-nvidia/dra-driver-nvidia-gpu:v{DRIVER_PLUGIN_VERSION}"
"""The kubelet plugin and the webhook of NVIDIA's driver, under the name that its chart asks for by
itself (image.repository and appVersion of the chart)."""
EXAMPLE_DRIVER_IMAGE = f"localhost/dra-workshop/dra-example-driver:v{EXAMPLE_DRIVER_VERSION}"
"""The kubelet plugin of Kubernetes' example driver. Its tag is the appVersion of the chart, whose
image.repository must be set to the rest."""

DRIVER_PROGRAMS = (
    *("bash", "basename", "cat", "chroot", "cp", "date", "env", "find", "head", "ln", "ls"),
    *("mount", "rm", "sed", "sleep", "tail", "umount"),
)
"""What the driver's chart, prestart script, plugin and template of the MPS daemon call."""
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
"""Where the programs of this machine are looked for: not among what a user may have put first."""
MAKERS = tuple(Path(__file__).with_name(name) for name in ("assemble.py", "oci.py"))
"""The source that decides how an image is made of what goes into it."""


@dataclass(frozen=True)
class Image(Tool):
    """An image as one tar in OCI's layout, which `ctr --namespace k8s.io images import` takes.

    reference: what pods call it.
    file: its name in `.tools/images`.
    made_of: what is built for it; must be in the cache when it is assembled.
    host_programs: programs of this machine that go into it, with the libraries that they need.
    python: whether this machine's Python goes into it.
    """

    reference: str
    file: str
    made_of: tuple[GoTool, ...] = ()
    host_programs: tuple[str, ...] = ()
    python: bool = False
    into: str = field(default="images", kw_only=True)

    @property
    def digest(self) -> str:
        """Over all that decides what is in it, but for this machine's own files.

        Those are left out on purpose, as the Go compiler is: an image holds all that it needs, so
        one that was assembled before an upgrade, or on another machine (`make bundle`), serves.
        """
        decided = (
            self.reference,
            [tool.digest for tool in self.made_of],
            self.host_programs,
            self.python,
            platform.machine(),
        )
        content = hashlib.sha256(repr(decided).encode())
        for maker in MAKERS:
            content.update(maker.read_bytes())
        return content.hexdigest()[:12]

    @property
    def places(self) -> Mapping[str, str]:
        return {self.file: self.file}


def interpreter() -> Path:
    """The Python that set-up was started with, not the link to it in `.venv`.

    Raises SetupError if it is not where Python installs itself.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    path = Path(sys.base_prefix) / "bin" / f"python{version}"
    if not path.exists():
        raise SetupError(f"the image {WORKLOAD_IMAGE} needs {path}, which is not there")
    return path


def standard_library() -> Path:
    """The folder of the standard library of that Python."""
    return Path(os.__file__).parent


def host_program(name: str) -> Path:
    """Where this machine has a program. Raises SetupError if it has not."""
    found = shutil.which(name, path=SYSTEM_PATH)
    if found is None:
        raise SetupError(
            f"the image {DRIVER_IMAGE} needs this machine's {name}, which is not in {SYSTEM_PATH}"
        )
    return Path(found).resolve()


WORKLOAD = Image("workload-image", "1", WORKLOAD_IMAGE, "workload.tar", python=True)
SANDBOX = Image("pause-image", "1", PAUSE_IMAGE, "pause.tar", made_of=(PAUSE,))
DRIVER = Image(
    "dra-driver-image",
    DRIVER_PLUGIN_VERSION,
    DRIVER_IMAGE,
    "dra-driver.tar",
    made_of=(DRIVER_PLUGIN, DRA_WEBHOOK, NVIDIA_TOOLKIT),
    host_programs=DRIVER_PROGRAMS,
)
EXAMPLE = Image(
    "dra-example-image",
    EXAMPLE_DRIVER_VERSION,
    EXAMPLE_DRIVER_IMAGE,
    "dra-example-driver.tar",
    made_of=(EXAMPLE_DRIVER,),
)
IMAGES = (SANDBOX, WORKLOAD, DRIVER)
"""Those of a host node."""
KIND_IMAGES = (WORKLOAD, EXAMPLE)
"""Those that are loaded into the nodes of kind."""
