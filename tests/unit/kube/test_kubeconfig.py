"""One context is taken out of a person's kubeconfig, so that it works from anywhere; the person's
files are only read."""

from __future__ import annotations

import base64
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kube import kubeconfig
from kube.errors import KubeError

CONTENT = {
    "current-context": "other",
    "clusters": [
        {"name": "c", "cluster": {"server": "https://c", "certificate-authority": "pki/ca.crt"}},
        {"name": "d", "cluster": {"server": "https://d"}},
    ],
    "users": [
        {"name": "u", "user": {"client-certificate": "pki/u.crt", "client-key": "/keys/u.key"}},
        {"name": "v", "user": {"tokenFile": "token", "exec": {"command": "bin/login"}}},
        {"name": "w", "user": {"exec": {"command": "aws", "args": ["eks"]}}},
    ],
    "contexts": [
        {"name": "prod", "context": {"cluster": "c", "user": "u", "namespace": "team"}},
        {"name": "plugin", "context": {"cluster": "d", "user": "v"}},
        {"name": "cloud", "context": {"cluster": "d", "user": "w"}},
        {"name": "broken", "context": {"cluster": "e", "user": "u"}},
        {"name": "nobody", "context": {"cluster": "c", "user": "x"}},
    ],
}
NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    found = tmp_path / "config"
    found.write_text(yaml.safe_dump(CONTENT))
    return found


def only(path: Path, context: str) -> Any:
    return kubeconfig.only(kubeconfig.read(str(path)), context)


def test_it_has_the_chosen_context_with_its_cluster_and_user_and_no_other(path: Path) -> None:
    found = only(path, "prod")
    assert found["current-context"] == "prod"
    assert [entry["name"] for entry in found["contexts"]] == ["prod"]
    assert found["contexts"][0]["context"]["namespace"] == "team"
    assert kubeconfig.server(found) == "https://c"
    assert [entry["name"] for entry in found["users"]] == ["u"]


def test_files_that_it_names_are_found_from_anywhere(path: Path) -> None:
    found, folder = only(path, "prod"), path.parent
    assert found["clusters"][0]["cluster"]["certificate-authority"] == f"{folder}/pki/ca.crt"
    user = found["users"][0]["user"]
    assert user == {"client-certificate": f"{folder}/pki/u.crt", "client-key": "/keys/u.key"}
    plugin = only(path, "plugin")["users"][0]["user"]
    assert plugin == {"tokenFile": f"{folder}/token", "exec": {"command": f"{folder}/bin/login"}}


def test_a_plugin_on_path_stays_as_it_is(path: Path) -> None:
    user = only(path, "cloud")["users"][0]["user"]
    assert user == {"exec": {"command": "aws", "args": ["eks"]}}


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ("prodd", "no context 'prodd' in {}; contexts: broken, cloud, nobody, plugin, prod"),
        ("broken", "context 'broken' names cluster 'e', which {} lacks"),
        ("nobody", "context 'nobody' names user 'x', which {} lacks"),
    ],
)
def test_a_context_that_cannot_be_used_is_told_with_those_there_are(
    path: Path, context: str, said: str
) -> None:
    with pytest.raises(KubeError) as raised:
        only(path, context)
    assert str(raised.value) == said.format(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not a kubeconfig"),
        ("contexts: [{name: a}]", "is not a kubeconfig"),
        ("- a", "is not a kubeconfig"),
    ],
)
def test_a_file_that_is_no_kubeconfig(path: Path, content: str, said: str) -> None:
    path.write_text(content)
    with pytest.raises(KubeError) as raised:
        kubeconfig.read(str(path))
    assert f"{path} {said}" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_empty_file_has_no_context(path: Path) -> None:
    path.write_text("")
    with pytest.raises(KubeError, match="contexts: none"):
        only(path, "prod")


def test_a_file_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(KubeError, match="there is no file /nowhere"):
        kubeconfig.read("/nowhere")


def test_without_one_that_is_given_it_is_kubectls_own_choice(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert kubeconfig.places("") == [tmp_path / "home" / ".kube" / "config"]
    monkeypatch.setenv("KUBECONFIG", f"{path}:/nowhere")
    assert kubeconfig.places("") == [path, Path("/nowhere")]
    assert kubeconfig.read("").contexts == ["broken", "cloud", "nobody", "plugin", "prod"]
    assert kubeconfig.places("~/mine") == [tmp_path / "home" / "mine"]


def test_of_several_files_the_first_that_defines_a_name_wins(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "second").mkdir()
    later = tmp_path / "second" / "config"
    user = {"name": "y", "user": {"client-certificate": "y.crt"}}
    clusters = [{"name": "c", "cluster": {"server": "https://hidden"}}]
    contexts = [{"name": "more", "context": {"cluster": "c", "user": "y"}}]
    content = {"clusters": clusters, "users": [user], "contexts": contexts}
    later.write_text(yaml.safe_dump(content))
    monkeypatch.setenv("KUBECONFIG", f"{path}:{later}")
    found = kubeconfig.only(kubeconfig.read(""), "more")
    assert kubeconfig.server(found) == "https://c"
    assert found["users"][0]["user"]["client-certificate"] == f"{tmp_path}/second/y.crt"


def test_it_is_written_for_this_user_only(tmp_path: Path) -> None:
    target = tmp_path / "kubeconfig"
    target.write_text("an older one")
    target.chmod(0o644)
    kubeconfig.write(target, {"a": 1})
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert yaml.safe_load(target.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [target]


# --- what has expired ----------------------------------------------------------------------------


def certificate(end: datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "u")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(end - timedelta(days=1))
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def token(end: datetime) -> str:
    claims = json.dumps({"exp": int(end.timestamp())}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.c2ln"


def told(user: dict[str, str]) -> str:
    return kubeconfig.expired({"users": [{"name": "u", "user": user}]}, NOW)


@pytest.mark.parametrize(
    ("days", "said"),
    [(-1, "the client certificate of user 'u' expired on 2026-05-31"), (1, "")],
)
def test_a_certificate_says_until_when(days: int, said: str, tmp_path: Path) -> None:
    pem = certificate(NOW + timedelta(days=days))
    assert told({"client-certificate-data": base64.b64encode(pem).decode()}) == said
    (tmp_path / "u.crt").write_bytes(pem)
    assert told({"client-certificate": str(tmp_path / "u.crt")}) == said


def test_a_web_token_says_so_too(tmp_path: Path) -> None:
    old = token(NOW - timedelta(days=2))
    assert told({"token": old}) == "the token of user 'u' expired on 2026-05-30"
    (tmp_path / "token").write_text(old)
    assert told({"tokenFile": str(tmp_path / "token")}).endswith("2026-05-30")
    assert told({"token": token(NOW + timedelta(days=1))}) == ""


@pytest.mark.parametrize(
    "user",
    [
        {},
        {"token": "opaque"},
        {"token": "a.b.c"},
        {"tokenFile": "/nowhere"},
        {"client-certificate": "/nowhere"},
        {"client-certificate-data": "bm9uZQ=="},
    ],
)
def test_what_does_not_say_is_not_said_to_have_expired(user: dict[str, str]) -> None:
    assert told(user) == ""
