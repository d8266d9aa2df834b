"""NVIDIA's admission webhook as a process of an embedded cluster.

It refuses claims whose opaque parameters NVIDIA's driver could not read. It asks nothing of the
cluster: the API server asks it, once the stack has registered it (components/webhook.py).
"""

import base64
import subprocess
from collections.abc import Mapping
from pathlib import Path

from machine.cluster_state import listens
from machine.errors import LabError
from toolchain.tools.embedded import WEBHOOK_ADDRESS

COMPONENT = "dra-webhook"
"""Its program, and what its port is called among the cluster's."""
GATES, DEFAULT_GATES = "webhook-gates", "MPSSupport=true"
"""File with the feature gates that it is started with, and those where there is no such file. They
are the driver's: both refuse what belongs to a gate that is off."""
PATH = "/validate-resource-claim-parameters"


def gates(folder: Path) -> str:
    """Those that the cluster in that folder starts it with, as Name=true,Name=true."""
    told = folder / GATES
    return told.read_text() if told.exists() else DEFAULT_GATES


def start(
    program: Path, folder: Path, certificates: Path, port: int, environment: Mapping[str, str]
) -> None:
    """Start it unless it runs. It serves under the certificate of the API server, which names the
    same address. certificates: folder of the cluster's authority."""
    if listens(port):
        return
    if not program.exists():
        raise LabError(f"{program} is missing", "run: make setup")
    # As kwokctl has the others: by its place it is known as the cluster's where the id is lost.
    own = certificates.parent.resolve() / "bin" / COMPONENT
    own.parent.mkdir(exist_ok=True)
    own.unlink(missing_ok=True)
    own.symlink_to(program.absolute())
    with (folder / f"{COMPONENT}.log").open("ab") as log:
        subprocess.Popen(
            [
                *(str(own), "--port", str(port), "--feature-gates", gates(folder)),
                *("--tls-cert-file", str(certificates / "admin.crt")),
                *("--tls-private-key-file", str(certificates / "admin.key")),
            ],
            env={**environment, WEBHOOK_ADDRESS: "127.0.0.1"},
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def address(certificates: Path, port: int) -> dict[str, str]:
    """Where the API server finds it, as in a ValidatingWebhookConfiguration's clientConfig."""
    authority = (certificates / "ca.crt").read_bytes()
    return {
        "url": f"https://127.0.0.1:{port}{PATH}",
        "caBundle": base64.b64encode(authority).decode(),
    }
