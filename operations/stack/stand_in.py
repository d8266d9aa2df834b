"""Pulumi's provider plugins, except that what they would make is only assumed.

An update through these stand-ins leaves the state that a real one leaves when every check
passes, in seconds and without a cluster. A preview on that state then asks the real plugins what
a change means: all that the engine asks is handed on to them, only Create and Update are
answered here, with the inputs and what a program of ours, Kubernetes or Helm would have added.
"""

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import provider_pb2

from machine.errors import LabError
from report.preview_diff import ANEW
from toolchain.layout import PULUMI_HOME
from toolchain.tools import PLUGINS

ATTACH = "PULUMI_DEBUG_PROVIDERS"
"""Environment variable: the engine uses what listens on these ports, and starts no plugin."""
MARK = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105
"""How Pulumi's wire format marks a secret (pulumi.runtime.rpc)."""
SERVICE = "/pulumirpc.ResourceProvider/"
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
CALL_SECONDS = 120


@contextmanager
def providers(folder: Path) -> Iterator[dict[str, str]]:
    """Stand-ins for all plugins, working in `folder`; gives the environment that has them used."""
    with ExitStack() as running:
        ports = {name: running.enter_context(_stand_in(_find(name), folder)) for name in PLUGINS}
        yield {ATTACH: ",".join(f"{name}:{port}" for name, port in ports.items())}


def _find(plugin: str) -> Path:
    version, _ = PLUGINS[plugin]
    folder = PULUMI_HOME / "plugins" / f"resource-{plugin}-v{version}"
    program = folder / f"pulumi-resource-{plugin}"
    if not program.exists():
        raise LabError(f"Pulumi's plugin {plugin} {version} is missing; run: make setup")
    return program


@contextmanager
def _stand_in(program: Path, folder: Path) -> Iterator[int]:
    started = subprocess.Popen(
        [program], cwd=folder, text=True, errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with ExitStack() as running:
        plugin = running.enter_context(started)
        running.callback(plugin.kill)
        assert plugin.stdout is not None  # noqa: S101
        port = plugin.stdout.readline().strip()  # a plugin says first where it listens
        channel = running.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}", UNLIMITED))
        server = grpc.server(ThreadPoolExecutor(), [_Handler(channel)], options=UNLIMITED)
        own = server.add_insecure_port("127.0.0.1:0")
        server.start()
        running.callback(server.stop, grace=None)
        yield own


@dataclass(frozen=True)
class _Handler:
    """Answers Create and Update; hands every other call on, as it came."""

    plugin: grpc.Channel

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        own = {f"{SERVICE}Create": create, f"{SERVICE}Update": update}.get(call.method)
        forward = partial(_forward, self.plugin.unary_unary(call.method))
        return grpc.unary_unary_rpc_method_handler(own or forward)


def _forward(ask: Callable[..., bytes], request: bytes, context: grpc.ServicerContext) -> bytes:
    try:
        return ask(request, timeout=CALL_SECONDS)
    except grpc.RpcError as error:
        context.set_trailing_metadata(error.trailing_metadata())
        context.abort(error.code(), error.details())
        raise


def create(message: bytes, _: Any) -> bytes:
    request = provider_pb2.CreateRequest.FromString(message)
    anew = ANEW if request.preview else ""
    made = _made(request.type, request.name, request.properties, anew)
    identity = "" if request.preview else request.name
    return bytes(provider_pb2.CreateResponse(id=identity, properties=made).SerializeToString())


def update(message: bytes, _: Any) -> bytes:
    """A program prints anew and a release counts on, but an object stays who it is."""
    request = provider_pb2.UpdateRequest.FromString(message)
    made = _made(request.type, request.name, request.news, ANEW)
    if "metadata" in made:
        made["metadata"]["uid"] = request.olds["metadata"]["uid"]
    return bytes(provider_pb2.UpdateResponse(properties=made).SerializeToString())


def _made(kind: str, name: str, inputs: Struct, anew: str) -> Struct:
    made = Struct()
    made.CopyFrom(inputs)
    if kind == "command:local:Command":
        made.update({"stdout": json.dumps(printed(name, inputs, anew)), "stderr": ""})
        return made
    # Where the Kubernetes plugin keeps what it was given; that of a release must be a secret.
    made["__inputs"] = inputs
    if kind == "kubernetes:helm.sh/v3:Release":
        made["__inputs"] = {MARK: SECRET, "value": inputs}
        made["status"] = {"version": inputs["version"], "revision": 2 if anew else 1}
    else:
        made.get_or_create_struct("metadata")["uid"] = f"{name}{anew}"
    return made


def printed(name: str, inputs: Mapping[str, Any], anew: str) -> dict[str, Any]:
    """What the graph reads of what a program prints: a check that passed, or the facts of a
    cluster, of its nodes and their GPUs."""
    given = json.loads(inputs["stdin"])
    result = f"{name}{anew}"
    if "module" not in given:
        workers = [{"gpus": [result] * len(subset)} for subset in given.get("subsets") or [[0]]]
        gpus = {
            "uuid": result,
            "node": result,
            "uuids": [result],
            "gpus": [{"uuid": result}],
            "driverRoot": "/",
        }
        needed = {"needs": result, "workers": workers}
        return gpus | needed | {"cluster_id": result, "facts": {}, "caBundle": result}
    finding = {"id": name, "status": "passed", "found": result}
    return {"module": given["module"], "status": "passed", "checks": [finding]}
