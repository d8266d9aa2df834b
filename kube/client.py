"""Reading a cluster: the official client, with watches and deadlines.

Every call raises KubeError, with a message for a person, when the API server refuses or cannot be
reached.
"""

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kubernetes import client, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError

from kube import connection, kubeconfig
from kube.errors import KubeError

GONE = 410
PATIENCE_SECONDS = 5
OK = 200
ANSWER_SECONDS = 30
"""A server that does not answer a request in this time counts as missing."""


@contextmanager
def explained() -> Iterator[None]:
    """Turn what the client raises into KubeError."""
    try:
        yield
    except ApiException as error:
        raise KubeError(f"the API server answers {error.status} {message(error)}") from error
    except (HTTPError, OSError) as error:
        raise KubeError(f"the API server cannot be reached: {error}") from error


@contextmanager
def announced(what: str, seconds: float) -> Iterator[None]:
    """Say on stderr what is waited for, and for how long at most, once it takes a while."""
    line = f"waiting for {what}, {seconds:.0f} s at most\n"
    timer = threading.Timer(PATIENCE_SECONDS, sys.stderr.write, [line])
    timer.daemon = True
    if what and seconds > PATIENCE_SECONDS:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def message(error: ApiException) -> str:
    """What the server says in its Status object, else the reason of the HTTP status."""
    try:
        text = json.loads(error.body or "")["message"]
    except (ValueError, KeyError, TypeError):
        text = error.reason
    return " ".join(str(text).split())[:300]


@dataclass(frozen=True)
class Kube:
    """A cluster, by the path of its kubeconfig, in the context that is current there."""

    kubeconfig: str

    @cached_property
    def api(self) -> Any:
        """KubeError for a kubeconfig that cannot be used, and with the reason of a plugin of it."""
        unusable = f"the kubeconfig {self.kubeconfig} cannot be used"
        try:
            entries = kubeconfig.read(self.kubeconfig)
            chosen = kubeconfig.only(entries, entries.current)
        except KubeError as error:
            raise KubeError(f"{unusable}: {error}") from error
        try:
            return client.ApiClient(connection.settings(chosen, Path(self.kubeconfig).parent))
        except (ConfigException, OSError, TypeError, ValueError) as error:
            raise KubeError(f"{unusable}: {error}") from error

    core = property(lambda self: client.CoreV1Api(self.api))
    apps = property(lambda self: client.AppsV1Api(self.api))
    batch = property(lambda self: client.BatchV1Api(self.api))
    resource = property(lambda self: client.ResourceV1Api(self.api))

    def get(self, read: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """One read; KubeError when it is refused."""
        with explained():
            return read(*arguments, _request_timeout=ANSWER_SECONDS, **options)

    def text(self, path: str) -> str:
        """What the API server answers at a path that is no API object, such as /metrics."""
        with explained():
            try:
                response = self.api.call_api(
                    path, "GET", auth_settings=["BearerToken"], _preload_content=False,
                    _return_http_data_only=True, _request_timeout=ANSWER_SECONDS,
                )  # fmt: skip
            except ApiException as error:
                raise KubeError(f"{path} answers {error.status} {error.reason}") from error
            return str(response.data, "utf-8")

    def log(self, namespace: str, pod: str, container: str | None = None) -> str:
        """What the pod's container has printed so far. container: which, if it has several."""
        which = {"container": container} if container else {}
        # The client would take a log of one line of JSON for an object, and print that.
        response = self.get(
            self.core.read_namespaced_pod_log, pod, namespace, _preload_content=False, **which
        )
        return str(response.data, "utf-8", errors="replace")

    def execute(self, namespace: str, pod: str, script: str, container: str | None = None) -> str:
        """What a shell script prints in the pod's container. KubeError if it cannot be run or
        fails. container: which, if it has several."""
        which = {"container": container} if container else {}
        from kubernetes.stream import stream  # only real nodes run anything
        from kubernetes.stream.ws_client import STDERR_CHANNEL, STDOUT_CHANNEL
        from websocket import WebSocketException

        try:
            with explained():
                session = stream(
                    self.core.connect_get_namespaced_pod_exec, pod, namespace,
                    command=["sh", "-c", script], stdin=False, stdout=True, stderr=True, tty=False,
                    _preload_content=False, **which,
                )  # fmt: skip
                session.run_forever(timeout=ANSWER_SECONDS)
        except WebSocketException as error:
            raise KubeError(f"nothing can be run in pod {pod}: {error}") from error
        except AttributeError as error:
            # What the client (36.0.3) makes of a refusal: it decodes a body that is not there.
            if not isinstance(refused := error.__context__, ApiException):
                raise
            raise KubeError(f"nothing can be run in pod {pod}: {message(refused)}") from error
        if session.is_open():
            session.close()
            raise KubeError(f"pod {pod}: the script did not end within {ANSWER_SECONDS} s")
        text: str = session.read_channel(STDOUT_CHANNEL)
        if code := session.returncode:
            errors = session.read_channel(STDERR_CHANNEL).strip()[:300]
            raise KubeError(f"pod {pod}: the script ended with {code}: {errors}")
        return text

    def wait(
        self,
        lister: Callable[..., Any],
        until: Callable[[list[Any]], bool],
        seconds: float,
        what: str = "",
        **selection: Any,
    ) -> list[Any]:
        """The objects that `lister` lists, as soon as `until` holds of them, or at the deadline.

        Watches; a watch that ends early is taken up again. Raises KubeError if the API server
        refuses, nothing at the deadline. what: is printed as waited for, if it takes a while.
        """
        deadline = time.monotonic() + seconds
        with explained(), announced(what, seconds):
            while True:
                listed = lister(_request_timeout=ANSWER_SECONDS, **selection)
                objects = {item.metadata.uid: item for item in listed.items}
                if until(list(objects.values())) or time.monotonic() >= deadline:
                    return list(objects.values())
                for event in _changes(lister, listed, deadline, selection):
                    item = event["object"]
                    objects.pop(item.metadata.uid, None)
                    if event["type"] != "DELETED":
                        objects[item.metadata.uid] = item
                    if until(list(objects.values())):
                        return list(objects.values())

    def wait_for_pod(
        self, namespace: str, name: str, until: Callable[[Any], bool], seconds: float
    ) -> Any:
        """The pod when `until` holds of it, or as it is at the deadline; None if there is none."""
        found = self.wait(
            self.core.list_namespaced_pod,
            lambda pods: any(until(pod) for pod in pods),
            seconds,
            what=f"pod {namespace}/{name}",
            namespace=namespace,
            field_selector=f"metadata.name={name}",
        )
        return found[0] if found else None


@contextmanager
def opened(config: kubeconfig.Config, folder: Path) -> Iterator[Kube]:
    """The cluster that the kubeconfig names, for a stack that has none yet.

    folder: the stack's own, so that what a kill leaves there is removed with it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix="opened-") as name:
            path = Path(name) / "kubeconfig"
            kubeconfig.write(path, config)
            yield Kube(str(path))
    finally:
        with suppress(OSError):  # it holds the stack's own files
            folder.rmdir()


def _changes(
    lister: Callable[..., Any], listed: Any, deadline: float, selection: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """What happens after a list: each {"type", "object"}.

    Ends at the deadline, when the server ends or cuts the watch, and when it has forgotten where
    the watch began.
    """
    remaining = max(1, round(deadline - time.monotonic()))
    # Left to itself a watch derives the type of the items from the name of the list, wrongly for
    # claims: their class is ResourceV1ResourceClaim (client 36.0.3).
    item_type = str(listed.openapi_types["items"]).removeprefix("list[").removesuffix("]")
    try:
        yield from watch.Watch(item_type).stream(
            lister,
            resource_version=listed.metadata.resource_version,
            timeout_seconds=remaining,
            _request_timeout=remaining + ANSWER_SECONDS,
            **selection,
        )
    except ApiException as error:
        if error.status != GONE:
            raise
    except HTTPError:
        return  # cut off; whether the server still answers shows when the objects are listed
