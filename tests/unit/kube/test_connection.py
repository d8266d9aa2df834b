"""The lab reaches a cluster as kubectl does, or says by name what it cannot do."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from checks.prerequisites import existing
from kube import kubeconfig
from kube.client import Kube, opened
from kube.errors import KubeError
from tests.unit.private_cluster import GOOD, PRIVATE, Server, api_server, certificate, forward_proxy

DATA = Path(__file__).resolve().parents[2] / "data"
V1 = "client.authentication.k8s.io/v1"
Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: Patch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name == "KUBECONFIG":
            monkeypatch.delenv(name)


def written(
    folder: Path, server: str, user: dict[str, Any] | None = None, /, **cluster: Any
) -> Path:
    """A kubeconfig with one context, "private"."""
    path = folder / "config"
    content = {
        "current-context": "private",
        "clusters": [{"name": "private", "cluster": {"server": server} | cluster}],
        "users": [{"name": "me", "user": {"token": "good"} if user is None else user}],
        "contexts": [{"name": "private", "context": {"cluster": "private", "user": "me"}}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


def version(path: Path) -> str:
    kube = Kube(str(path))
    return str(kube.get(client.VersionApi(kube.api).get_code).git_version)


def plugin(folder: Path, script: str, **more: Any) -> dict[str, Any]:
    """A user whose credentials that shell script prints."""
    path = folder / "login"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    entry = {"apiVersion": V1, "command": str(path), "interactiveMode": "IfAvailable"}
    return {"exec": entry | more}


def printing(status: dict[str, Any], api: str = V1) -> str:
    made = {"apiVersion": api, "kind": "ExecCredential", "status": status}
    return f"cat <<'END'\n{json.dumps(made)}\nEND"


def refused(path: Path) -> str:
    with pytest.raises(KubeError) as raised:
        version(path)
    return str(raised.value)


# --- the way there -------------------------------------------------------------------------------


def test_a_private_cluster_is_reached_by_the_proxy_of_its_kubeconfig(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    """Whatever NO_PROXY says: that is for proxies of the environment."""
    monkeypatch.setenv("NO_PROXY", "*")
    with api_server() as server, forward_proxy(server.port) as proxy:
        path = tmp_path / "config"
        text = (DATA / "proxy-kubeconfig.yaml").read_text()
        path.write_text(text.replace("PORT", str(proxy.port)))
        assert version(path) == "v1.37.2"
        assert proxy.asked == [f"{PRIVATE}:6443"]
        assert server.asked == [("/version/", GOOD)]


def test_a_tunnel_is_made_where_the_cluster_speaks_tls(tmp_path: Path) -> None:
    authority, tls = certificate(tmp_path, PRIVATE)
    with api_server(tls) as server, forward_proxy(server.port) as proxy:
        path = written(tmp_path, f"https://{PRIVATE}", **{
            "proxy-url": f"http://me:word@127.0.0.1:{proxy.port}",
            "certificate-authority": authority.name,
        })  # fmt: skip
        assert version(path) == "v1.37.2"
        assert proxy.asked == [f"{PRIVATE}:443"]
        login = base64.b64encode(b"me:word").decode()
        assert proxy.logins == [f"Basic {login}"]


def test_a_proxy_of_the_environment_is_for_clusters_elsewhere(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    with api_server() as server, forward_proxy(server.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        assert version(written(tmp_path, f"http://127.0.0.1:{server.port}")) == "v1.37.2"
        assert proxy.asked == []
        assert version(written(tmp_path, f"http://{PRIVATE}")) == "v1.37.2"
        assert proxy.asked == [PRIVATE]
        monkeypatch.setenv("NO_PROXY", ".invalid")
        assert "the API server cannot be reached" in refused(written(tmp_path, f"http://{PRIVATE}"))
        assert proxy.asked == [PRIVATE]


def test_the_proxy_for_https_is_not_that_for_http(tmp_path: Path, monkeypatch: Patch) -> None:
    authority, tls = certificate(tmp_path, PRIVATE)
    with api_server(tls) as server, forward_proxy(server.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        more = {"certificate-authority": str(authority)}
        assert version(written(tmp_path, f"https://{PRIVATE}", **more)) == "v1.37.2"


def test_a_proxy_that_is_not_there_is_said(tmp_path: Path) -> None:
    path = written(tmp_path, f"http://{PRIVATE}", **{"proxy-url": "http://127.0.0.1:9"})
    assert "proxy" in refused(path)


def test_the_name_in_the_certificate_may_be_another(tmp_path: Path) -> None:
    authority, tls = certificate(tmp_path, PRIVATE)
    with api_server(tls) as server:
        address = f"https://127.0.0.1:{server.port}"
        trusted = {"certificate-authority": str(authority)}
        named = trusted | {"tls-server-name": PRIVATE}
        assert version(written(tmp_path, address, **named)) == "v1.37.2"
        assert "certificate" in refused(written(tmp_path, address, **trusted))


def test_a_certificate_is_looked_at_unless_told_otherwise(tmp_path: Path) -> None:
    _, tls = certificate(tmp_path, PRIVATE)
    with api_server(tls) as server:
        address = f"https://127.0.0.1:{server.port}"
        assert "certificate" in refused(written(tmp_path, address))
        path = written(tmp_path, address, **{"insecure-skip-tls-verify": True})
        assert version(path) == "v1.37.2"


@pytest.mark.parametrize(
    ("cluster", "user", "told"),
    [
        ({"proxy-url": "socks5://jump:1080"}, {}, "'private': proxy-url 'socks5://jump:1080'"),
        (
            {"insecure-skip-tls-verify": True, "certificate-authority": "ca.crt"},
            {},
            "'private': certificate-authority and insecure-skip-tls-verify",
        ),
        ({}, {"token": "good", "as": "admin"}, "user 'me': as ("),
        ({}, {"token": "good", "as-groups": ["a"]}, "user 'me': as-groups ("),
        ({}, {"auth-provider": {"name": "gcp"}}, "auth-provider 'gcp'"),
        ({}, {"auth-provider": {"name": "azure"}}, "auth-provider 'azure'"),
    ],
    ids=["socks", "insecure", "as", "as-groups", "gcp", "azure"],
)
def test_what_cannot_be_done_is_refused_by_name(
    cluster: dict[str, Any], user: dict[str, Any], told: str, tmp_path: Path
) -> None:
    """Above all nobody is asked as somebody else than the kubeconfig says."""
    with api_server() as server:
        said = refused(written(tmp_path, f"http://127.0.0.1:{server.port}", user, **cluster))
        assert told in said
        assert server.asked == []


# --- credentials ---------------------------------------------------------------------------------


@pytest.fixture
def server() -> Any:
    with api_server() as made:
        yield made


def test_a_plugin_says_who_one_is(server: Server, tmp_path: Path) -> None:
    user = plugin(tmp_path, printing({"token": "good"}))
    assert version(written(tmp_path, f"http://127.0.0.1:{server.port}", user)) == "v1.37.2"
    assert server.asked == [("/version/", GOOD)]


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (
            "echo 'The SSO session has expired, run: aws sso login' >&2; exit 255",
            "ended with 255: The SSO session has expired, run: aws sso login",
        ),
        ("exit 3", "ended with 3"),
        ("echo hello", "printed no JSON: hello"),
        ("echo '[]'", "printed no ExecCredential"),
        (printing({}), "printed neither a token nor a certificate"),
        (printing({"clientCertificateData": "c"}), "printed a certificate without its key"),
        (
            printing({"token": "good"}, "client.authentication.k8s.io/v1beta1"),
            f"answers in client.authentication.k8s.io/v1beta1, asked in {V1}",
        ),
    ],
    ids=["fails", "silent", "no-json", "no-object", "nothing", "half", "version"],
)
def test_a_plugin_that_fails_stops_with_its_own_reason(
    script: str, told: str, server: Server, tmp_path: Path
) -> None:
    address = f"http://127.0.0.1:{server.port}"
    said = refused(written(tmp_path, address, plugin(tmp_path, script)))
    assert said.startswith(f"plugin '{tmp_path}/login' of user 'me'")
    assert told in said
    assert server.asked == [], "nothing was asked as nobody"


def test_a_plugin_that_is_not_installed_tells_how_it_is(server: Server, tmp_path: Path) -> None:
    entry = {"apiVersion": V1, "command": "no-such-login", "interactiveMode": "Never",
             "installHint": "Get it from example.com"}  # fmt: skip
    path = written(tmp_path, f"http://127.0.0.1:{server.port}", {"exec": entry})
    said = "plugin 'no-such-login' of user 'me' is not installed; Get it from example.com"
    assert refused(path) == said


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"interactiveMode": "Always"}, "interactiveMode 'Always': it needs a terminal"),
        ({"interactiveMode": None}, "lacks interactiveMode (Never, IfAvailable or Always)"),
        ({"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "apiVersion"),
    ],
    ids=["always", "none", "alpha"],
)
def test_a_plugin_that_kubectl_or_the_lab_cannot_run(
    more: dict[str, Any], told: str, server: Server, tmp_path: Path
) -> None:
    user = plugin(tmp_path, printing({"token": "good"}), **more)
    said = refused(written(tmp_path, f"http://127.0.0.1:{server.port}", user))
    assert told in said
    assert server.asked == []


def test_a_plugin_that_does_not_end_is_ended(
    server: Server, tmp_path: Path, monkeypatch: Patch
) -> None:
    monkeypatch.setattr("kube.exec_plugin.SECONDS", 0.2)
    user = plugin(tmp_path, "exec sleep 60")
    said = refused(written(tmp_path, f"http://127.0.0.1:{server.port}", user))
    assert said.endswith("did not end within 0.2 s")


def test_a_plugin_is_told_what_kubectl_tells_it(server: Server, tmp_path: Path) -> None:
    """The cluster only if it asks; its authority as data, whichever way it is given."""
    authority, _ = certificate(tmp_path, PRIVATE)
    script = f'echo "$KUBERNETES_EXEC_INFO" > {tmp_path}/told; echo $WHO $1 >> {tmp_path}/told\n'
    user = plugin(tmp_path, script + printing({"token": "good"}), provideClusterInfo=True,
                  env=[{"name": "WHO", "value": "them"}], args=["first"])  # fmt: skip
    address = f"http://127.0.0.1:{server.port}"
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "a"}}
    version(written(tmp_path, address, user, **{
        "certificate-authority": authority.name,
        "extensions": [extension],
    }))  # fmt: skip
    info, rest = (tmp_path / "told").read_text().splitlines()
    assert rest == "them first"
    told = json.loads(info)
    assert told["spec"] == {
        "interactive": False,
        "cluster": {
            "server": address,
            "certificate-authority-data": base64.b64encode(authority.read_bytes()).decode(),
            "config": {"audience": "a"},
        },
    }
    user = plugin(tmp_path, script + printing({"token": "good"}))
    version(written(tmp_path, address, user))
    assert "cluster" not in json.loads((tmp_path / "told").read_text().splitlines()[0])["spec"]


def test_a_token_that_ended_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    ended = (datetime.now(UTC) - timedelta(seconds=1)).isoformat().replace("+00:00", "Z")
    status = {"token": "good", "expirationTimestamp": ended}
    user = plugin(tmp_path, f"echo run >> {tmp_path}/runs\n{printing(status)}")
    kube = Kube(str(written(tmp_path, f"http://127.0.0.1:{server.port}", user)))
    for _ in range(2):
        kube.text("/version/")
    assert len((tmp_path / "runs").read_text().splitlines()) == 3
    (tmp_path / "login").write_text("#!/bin/sh\necho gone >&2; exit 1\n")
    with pytest.raises(KubeError, match="ended with 1: gone"):
        kube.text("/version/")


def test_a_certificate_of_a_plugin_is_shown(tmp_path: Path) -> None:
    authority, tls = certificate(tmp_path, PRIVATE)
    tls.load_verify_locations(authority)
    tls.verify_mode = tls.verify_mode.CERT_REQUIRED
    pem = (tmp_path / "server.pem").read_text()
    status = {"clientCertificateData": pem, "clientKeyData": pem}
    with api_server(tls) as server:
        named = {"certificate-authority": authority.name, "tls-server-name": PRIVATE}
        user = plugin(tmp_path, printing(status))
        path = written(tmp_path, f"https://127.0.0.1:{server.port}", user, **named)
        assert version(path) == "v1.37.2"


def test_a_token_file_ends_with_a_line_break_and_is_read_again(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("good\n")
    path = written(tmp_path, f"http://127.0.0.1:{server.port}", {"tokenFile": "token"})
    kube = Kube(str(path))
    kube.text("/version/")
    (tmp_path / "token").write_text("better\n")
    server.users["Bearer better"] = "me"
    kube.text("/version/")
    assert [who for _, who in server.asked] == [GOOD, "Bearer better"]


def test_a_token_file_that_is_missing_is_named(server: Server, tmp_path: Path) -> None:
    path = written(tmp_path, f"http://127.0.0.1:{server.port}", {"tokenFile": "token"})
    assert f"{tmp_path}/token" in refused(path)


def test_a_token_comes_before_a_plugin(server: Server, tmp_path: Path) -> None:
    user = plugin(tmp_path, "exit 1") | {"token": "good"}
    assert version(written(tmp_path, f"http://127.0.0.1:{server.port}", user)) == "v1.37.2"


def web_token(seconds: float) -> str:
    claims = json.dumps({"exp": int(time.time() + seconds)}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.c2ln"


def test_an_oidc_token_is_used_until_it_ends(server: Server, tmp_path: Path) -> None:
    """Not renewed: who renews it has to write it back into the person's own file."""
    address, token = f"http://127.0.0.1:{server.port}", web_token(600)
    server.users[f"Bearer {token}"] = "me"
    provider = {"name": "oidc", "config": {"id-token": token, "refresh-token": "r"}}
    assert version(written(tmp_path, address, {"auth-provider": provider})) == "v1.37.2"
    provider["config"] = {"id-token": web_token(-600), "refresh-token": "r"}
    said = refused(written(tmp_path, address, {"auth-provider": provider}))
    assert "the token of user 'me' expired on" in said
    assert "kubectl" in said


# --- what module 0 says of it --------------------------------------------------------------------


def look(path: Path, stack: Path, monkeypatch: Patch) -> dict[str, dict[str, Any]]:
    monkeypatch.chdir(stack)
    given = {"stack": "s", "kubeconfig": str(path), "context": "private", "driver": "d",
             "chart": "c", "driverChart": "", "plugin": "p", "install": False,
             "usesDriver": False, "driverNamespace": "", "namespaces": [], "outside": [],
             "target": "", "featureGates": [], "modules": {}, "makes": []}  # fmt: skip
    found = existing.run("0", given)["checks"]
    return {finding["id"]: finding for finding in found}


def test_a_plugin_that_fails_fails_module_0(
    server: Server, tmp_path: Path, monkeypatch: Patch
) -> None:
    user = plugin(tmp_path, "echo 'token is expired' >&2; exit 1")
    found = look(written(tmp_path, f"http://127.0.0.1:{server.port}", user), tmp_path, monkeypatch)
    assert found["credentials-made"]["status"] == "failed"
    assert "ended with 1: token is expired" in found["credentials-made"]["found"]
    assert found["credentials-accepted"]["status"] == "skipped"
    assert server.asked == []


@pytest.mark.parametrize(
    ("user", "status", "told"),
    [
        ({"token": "good"}, "passed", "me"),
        ({"token": "bad"}, "failed", "401"),
        ({}, "failed", "system:anonymous"),
        ({"username": "u"}, "failed", "system:anonymous"),
    ],
    ids=["known", "unknown", "nothing", "half"],
)
def test_who_is_not_known_is_not_accepted(
    user: dict[str, Any], status: str, told: str,
    server: Server, tmp_path: Path, monkeypatch: Patch,
) -> None:  # fmt: skip
    found = look(written(tmp_path, f"http://127.0.0.1:{server.port}", user), tmp_path, monkeypatch)
    assert found["credentials-accepted"]["status"] == status
    assert told in found["credentials-accepted"]["found"]


def test_who_is_known_may_be_refused_that_answer(
    server: Server, tmp_path: Path, monkeypatch: Patch
) -> None:
    """A 403 that calls the user by name comes after the credentials were accepted."""
    monkeypatch.setattr("tests.unit.private_cluster.REVIEWS", "/nowhere")
    found = look(written(tmp_path, f"http://127.0.0.1:{server.port}"), tmp_path, monkeypatch)
    assert found["credentials-accepted"]["status"] == "passed"
    assert found["credentials-accepted"]["found"] == "me"


# --- nothing of it stays -------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from kube.client import Kube, opened
from kube import kubeconfig
folder = Path(sys.argv[1])
if sys.argv[2] == "opened":
    entries = kubeconfig.read(str(folder / "config"))
    held = opened(kubeconfig.only(entries, "private"), folder)
    kube = held.__enter__()
else:
    kube = Kube(str(folder / "config"))
kube.api
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("way", ["opened", "own"])
def test_credentials_stay_in_the_clusters_folder_even_after_a_kill(
    way: str, tmp_path: Path
) -> None:
    authority, _ = certificate(tmp_path, PRIVATE)
    pem = base64.b64encode((tmp_path / "server.pem").read_bytes()).decode()
    user = {"client-certificate-data": pem, "client-key-data": pem}
    run, temporary = tmp_path / "run", tmp_path / "tmp"
    run.mkdir()
    temporary.mkdir()
    written(run, "https://127.0.0.1:1", user, **{
        "certificate-authority-data": base64.b64encode(authority.read_bytes()).decode(),
    })  # fmt: skip
    environment = os.environ | {"TMPDIR": str(temporary)}
    subprocess.run([sys.executable, "-c", KILLED, str(run), way], env=environment, check=False)
    assert list(temporary.iterdir()) == []
    left = [path for path in run.rglob("*") if path.is_file() and path.name != "config"]
    assert left, "what it had is below the folder that is removed with the cluster"
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in left)


def test_nothing_stays_of_a_look_that_ends(server: Server, tmp_path: Path) -> None:
    entries = kubeconfig.read(str(written(tmp_path, f"http://127.0.0.1:{server.port}")))
    folder = tmp_path / "run" / "stack"
    with opened(kubeconfig.only(entries, "private"), folder) as kube:
        kube.text("/version/")
    assert not folder.exists()
