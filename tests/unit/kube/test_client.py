"""Waiting ends as soon as it can, never after its deadline, and errors come in words."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import ProtocolError, ReadTimeoutError

from kube.client import ANSWER_SECONDS, Kube, announced, explained
from kube.conditions import condition
from kube.errors import KubeError
from kube.pods import describe
from tests.unit import fake_kube
from tests.unit.fake_kube import (
    FORBIDDEN,
    FORBIDDEN_TEXT,
    NAMESPACE,
    UNREACHABLE,
    UNREACHABLE_TEXT,
    node,
    pod,
    refusal,
    status_body,
    unschedulable,
)

SECONDS = 30.0
GONE = ApiException(status=410, reason="Expired: too old resource version")
CUT = ProtocolError("Connection broken: InvalidChunkLength")
Event = tuple[str, Any]


class Server:
    """Scripted lists and watches. Its clock stands still until a watch has nothing more to tell.

    Each list has the next resource version, or is an error; the last list stays. When the watches
    are used up the next one is silent until its timeout.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.lists: list[list[Any] | Exception] = [[]]
        self.watches: list[list[Event | Exception]] = []
        self.listed = 0
        self.listed_type: Any = client.V1PodList
        self.selections: list[dict[str, Any]] = []
        self.watched_from: list[str] = []
        self.request_timeouts: list[float] = []
        monkeypatch.setattr("kube.client.time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr("kube.client.watch.Watch", self.of_type)

    def of_type(self, item_type: str) -> Server:
        assert hasattr(client.models, item_type)
        return self

    def list(self, *, _request_timeout: float, **selection: Any) -> Any:
        self.request_timeouts.append(_request_timeout)
        self.selections.append(selection)
        self.listed += 1
        items = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        if isinstance(items, Exception):
            raise items
        version = SimpleNamespace(resource_version=f"v{self.listed}")
        types = self.listed_type.openapi_types
        return SimpleNamespace(items=items, metadata=version, openapi_types=types)

    def stream(
        self,
        lister: Any,
        *,
        resource_version: str,
        timeout_seconds: int,
        _request_timeout: float,
        **selection: Any,
    ) -> Iterator[dict[str, Any]]:
        self.request_timeouts.append(_request_timeout)
        self.selections.append(selection)
        self.watched_from.append(resource_version)
        if not self.watches:
            self.now += timeout_seconds
            return
        for step in self.watches.pop(0):
            if isinstance(step, Exception):
                raise step
            yield {"type": step[0], "object": step[1]}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(monkeypatch)


@pytest.fixture
def kube() -> Kube:
    return Kube("nowhere/kubeconfig")


def names(objects: list[Any]) -> list[str]:
    return sorted(item.metadata.name for item in objects)


def ready(objects: list[Any]) -> bool:
    return any(condition(item, "Ready").status == "True" for item in objects)


def test_what_is_so_already_is_returned_without_a_watch(kube: Kube, server: Server) -> None:
    server.lists = [[node("a")]]
    assert names(kube.wait(server.list, ready, SECONDS)) == ["a"]
    assert server.watched_from == []


def test_an_added_object_ends_the_wait(kube: Kube, server: Server) -> None:
    server.lists = [[node("a", "False")]]
    server.watches = [[("ADDED", node("b", "True"))]]
    assert names(kube.wait(server.list, ready, SECONDS)) == ["a", "b"]
    assert server.now == 1000.0, "no time was lost"


def test_a_modified_object_takes_the_place_of_the_old_one(kube: Kube, server: Server) -> None:
    server.lists = [[node("a", "False")]]
    server.watches = [[("MODIFIED", node("a", "Unknown")), ("MODIFIED", node("a", "True"))]]
    (found,) = kube.wait(server.list, ready, SECONDS)
    assert condition(found, "Ready").status == "True"


def test_a_deleted_object_is_no_longer_there(kube: Kube, server: Server) -> None:
    server.lists = [[node("a"), node("b")]]
    server.watches = [[("DELETED", node("a"))]]
    assert names(kube.wait(server.list, lambda found: len(found) < 2, SECONDS)) == ["b"]


def test_a_watch_that_ends_early_is_taken_up_again_from_a_fresh_list(
    kube: Kube, server: Server
) -> None:
    server.lists = [[], [node("a", "False")]]
    server.watches = [[], [("MODIFIED", node("a", "True"))]]
    assert names(kube.wait(server.list, ready, SECONDS)) == ["a"]
    assert server.watched_from == ["v1", "v2"]


def test_what_happened_between_two_watches_is_seen(kube: Kube, server: Server) -> None:
    server.lists = [[], [node("a", "True")]]
    server.watches = [[]]
    assert names(kube.wait(server.list, ready, SECONDS)) == ["a"]
    assert server.watched_from == ["v1"]


def test_a_watch_whose_beginning_is_forgotten_is_listed_again(kube: Kube, server: Server) -> None:
    server.lists = [[], [node("a", "True")]]
    server.watches = [[("ADDED", node("old", "False")), GONE]]
    assert names(kube.wait(server.list, ready, SECONDS)) == ["a"]


@pytest.mark.parametrize("cut", [CUT, ReadTimeoutError(None, "/", "Read timed out.")])  # type: ignore[arg-type]
def test_a_watch_that_is_cut_is_taken_up_again_from_a_fresh_list(
    kube: Kube, server: Server, cut: Exception
) -> None:
    server.lists = [[], [node("b", "False")]]
    server.watches = [[("ADDED", node("old", "False")), cut], [("ADDED", node("a", "True"))]]
    assert names(kube.wait(server.list, ready, SECONDS)) == ["a", "b"]
    assert server.watched_from == ["v1", "v2"]


def test_a_watch_that_is_cut_by_a_server_that_dies_ends_the_wait(
    kube: Kube, server: Server
) -> None:
    server.lists = [[], UNREACHABLE]
    server.watches = [[CUT]]
    with pytest.raises(KubeError) as caught:
        kube.wait(server.list, ready, SECONDS)
    assert str(caught.value) == UNREACHABLE_TEXT


def test_neither_a_list_nor_a_watch_waits_for_ever(kube: Kube, server: Server) -> None:
    kube.wait(server.list, ready, SECONDS)
    watch = SECONDS + ANSWER_SECONDS
    assert server.request_timeouts == [ANSWER_SECONDS, watch, ANSWER_SECONDS]


def test_a_read_does_not_wait_for_ever(kube: Kube) -> None:
    def read(*arguments: Any, **options: Any) -> Any:
        return arguments, options

    found = kube.get(read, "pod-1", NAMESPACE, pretty=True)
    assert found == (
        ("pod-1", NAMESPACE),
        {"pretty": True, "_request_timeout": ANSWER_SECONDS},
    )


def test_a_watch_that_is_refused_ends_the_wait_with_the_answer(kube: Kube, server: Server) -> None:
    server.watches = [[FORBIDDEN]]
    with pytest.raises(KubeError, match=FORBIDDEN_TEXT):
        kube.wait(server.list, ready, SECONDS)


def test_at_the_deadline_the_objects_come_back_as_they_are(kube: Kube, server: Server) -> None:
    server.lists = [[node("a", "False")]]
    assert names(kube.wait(server.list, ready, SECONDS)) == ["a"]
    assert server.now == 1000.0 + SECONDS


def test_watches_that_end_early_do_not_put_the_deadline_off(kube: Kube, server: Server) -> None:
    server.watches = [[], [GONE], [CUT], [("ADDED", node("a", "False"))]]
    kube.wait(server.list, ready, SECONDS)
    assert server.now == 1000.0 + SECONDS


def test_without_any_time_it_looks_once(kube: Kube, server: Server) -> None:
    assert kube.wait(server.list, ready, 0) == []
    assert (server.listed, server.watched_from) == (1, [])


def test_a_list_that_is_refused_says_so(kube: Kube) -> None:
    with pytest.raises(KubeError, match=FORBIDDEN_TEXT):
        kube.wait(refused, ready, SECONDS)


def refused(**selection: Any) -> Any:
    raise FORBIDDEN


@pytest.fixture
def pods(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    core = SimpleNamespace(list_namespaced_pod=server.list)
    monkeypatch.setattr(Kube, "core", core)
    return server


def running(found: Any) -> bool:
    return bool(found.status.phase == "Running")


def test_a_pod_is_awaited_by_its_name_alone(kube: Kube, pods: Server) -> None:
    pods.watches = [[("ADDED", pod("pod-1", "Pending")), ("MODIFIED", pod("pod-1", "Running"))]]
    found = kube.wait_for_pod(NAMESPACE, "pod-1", running, SECONDS)
    assert describe(found) == "Running"
    selection = {"namespace": NAMESPACE, "field_selector": "metadata.name=pod-1"}
    assert pods.selections == [selection, selection], "the list and the watch select the same"


def test_a_late_pod_comes_back_as_it_is(kube: Kube, pods: Server) -> None:
    pods.lists = [[pod("pod-1", "Pending")]]
    assert kube.wait_for_pod(NAMESPACE, "pod-1", running, SECONDS).status.phase == "Pending"


def test_there_is_no_pod_that_never_was(kube: Kube, pods: Server) -> None:
    assert kube.wait_for_pod(NAMESPACE, "pod-1", running, SECONDS) is None


def test_there_is_no_pod_that_was_deleted(kube: Kube, pods: Server) -> None:
    pods.lists = [[pod("pod-1", "Pending")], []]
    pods.watches = [[("DELETED", pod("pod-1", "Pending"))]]
    assert kube.wait_for_pod(NAMESPACE, "pod-1", running, SECONDS) is None


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FORBIDDEN, FORBIDDEN_TEXT),
        (fake_kube.BROKEN, fake_kube.BROKEN_TEXT),
        (fake_kube.UNREACHABLE, fake_kube.UNREACHABLE_TEXT),
        (ConnectionResetError("reset"), "the API server cannot be reached: reset"),
        (PermissionError("not yours"), "the API server cannot be reached: not yours"),
    ],
)
def test_what_the_client_raises_is_said_in_words(error: Exception, text: str) -> None:
    with pytest.raises(KubeError) as caught, explained():
        raise error
    assert str(caught.value) == text


@pytest.mark.parametrize(
    "body", [None, "", "you may not", "{", "null", "3", "[]", "{}", b"\xff", '{"reason": "x"}']
)
def test_an_answer_without_a_message_says_the_reason(body: Any) -> None:
    error = ApiException(status=403, reason="Forbidden")
    error.body = body
    with pytest.raises(KubeError, match=r"^the API server answers 403 Forbidden$"), explained():
        raise error


@pytest.mark.parametrize(
    "body",
    [
        "line\n" * 200,
        status_body("line " * 200),
        status_body("line\n" * 200),
    ],
)
def test_a_long_answer_of_the_server_is_one_short_line(body: str) -> None:
    error = refusal(500, "Error", body)
    with pytest.raises(KubeError) as caught, explained():
        raise error
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_program_error_is_not_taken_for_an_answer() -> None:
    with pytest.raises(KeyError), explained():
        raise KeyError


def test_a_missing_kubeconfig_is_said_in_words(kube: Kube) -> None:
    with pytest.raises(KubeError, match=r"^the kubeconfig nowhere/kubeconfig cannot be used: "):
        _ = kube.api


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"just words",
        b"[]",
        b"{}",
        b"clusters: 3\n",
        b"current-context: lab\ncontexts: 3\n",
        b"\xff\xfe\x00",
    ],
)
def test_a_file_that_is_no_kubeconfig_is_said_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "kubeconfig"
    path.write_bytes(content)
    with pytest.raises(KubeError) as caught:
        _ = Kube(str(path)).api
    assert str(caught.value).startswith(f"the kubeconfig {path} cannot be used: ")


def test_a_context_that_does_not_exist_is_said_in_words(tmp_path: Path) -> None:
    path = Path(kube_at(1, tmp_path).kubeconfig)
    path.write_text(
        path.read_text().replace('"current-context": "lab"', '"current-context": "other"')
    )
    with pytest.raises(KubeError, match=r"cannot be used: .*other"):
        Kube(str(path)).text("/metrics")


class Answers(BaseHTTPRequestHandler):
    """Metrics for everyone, nothing else."""

    def do_GET(self) -> None:
        body = b"up 1\n" if self.path == "/metrics" else status_body("you may not").encode()
        self.send_response(200 if self.path == "/metrics" else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Tests stay quiet."""


@pytest.fixture
def api_server() -> Iterator[int]:
    """A real server on this machine; its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def kube_at(port: int, folder: Path) -> Kube:
    path = folder / "kubeconfig"
    content = {
        "clusters": [{"name": "lab", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "lab", "user": {}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        "current-context": "lab",
    }
    path.write_text(json.dumps(content))
    return Kube(str(path))


def test_a_path_that_is_no_object_is_read_as_text(api_server: int, tmp_path: Path) -> None:
    assert kube_at(api_server, tmp_path).text("/metrics") == "up 1\n"


def test_a_path_that_is_refused_says_which(api_server: int, tmp_path: Path) -> None:
    with pytest.raises(KubeError, match=r"^/logs answers 403 Forbidden$"):
        kube_at(api_server, tmp_path).text("/logs")


def test_an_object_that_is_refused_tells_the_answer(api_server: int, tmp_path: Path) -> None:
    kube = kube_at(api_server, tmp_path)
    with pytest.raises(KubeError, match=f"^{FORBIDDEN_TEXT}$"):
        kube.get(kube.core.list_node)


def test_a_server_that_is_not_there_cannot_be_reached(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        kube = kube_at(taken.getsockname()[1], tmp_path)
        for call in (lambda: kube.get(kube.apps.list_daemon_set_for_all_namespaces),
                     lambda: kube.get(kube.resource.list_device_class),
                     lambda: kube.text("/metrics")):  # fmt: skip
            with pytest.raises(KubeError, match=r"the API server cannot be reached: .*refused"):
                call()


def test_a_server_that_does_not_answer_cannot_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kube.client.ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        kube = kube_at(silent.getsockname()[1], tmp_path)
        for call in (lambda: kube.get(kube.core.list_node), lambda: kube.text("/metrics")):
            with pytest.raises(KubeError, match=r"the API server cannot be reached: .*timed out"):
                call()


def test_an_object_without_status_has_no_conditions() -> None:
    assert condition(SimpleNamespace(status=None), "Ready") is None
    assert condition(SimpleNamespace(status=SimpleNamespace(conditions=None)), "Ready") is None
    assert condition(node("a"), "Initialized") is None


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (None, "no such pod"),
        (pod("p", "Pending"), "Pending"),
        (pod("p", "Running", on="gpu-node-0"), "Running on gpu-node-0"),
        (unschedulable("p", "no room"), "Pending, Unschedulable: no room"),
    ],
)
def test_where_a_pod_stands_is_said_in_words(found: Any, text: str) -> None:
    assert describe(found) == text


@pytest.mark.parametrize(
    "listed",
    [
        client.V1PodList,
        client.V1NodeList,
        client.V1DaemonSetList,
        client.V1DeviceClassList,
        client.V1ResourceClaimList,
        client.V1ResourceSliceList,
    ],
    ids=lambda listed: listed.__name__,
)
def test_what_a_watch_tells_is_of_a_class_that_the_client_has(
    kube: Kube, server: Server, listed: Any
) -> None:
    """Claims are not: the client itself looks for a V1ResourceClaim, which it does not have."""
    server.listed_type = listed
    kube.wait(server.list, ready, SECONDS)
    assert server.watched_from


@pytest.mark.parametrize(("what", "seconds", "said"), [
    ("pod a/b", 9, "waiting for pod a/b, 9 s at most\n"), ("", 9, ""), ("pod a/b", 0, ""),
])  # fmt: skip
def test_what_is_waited_for_is_said_once_it_takes_a_while(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    what: str, seconds: float, said: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("kube.client.PATIENCE_SECONDS", 0.01)
    with announced(what, seconds):
        assert capsys.readouterr().err == ""
        threading.Event().wait(0.2)
    assert capsys.readouterr().err == said
