"""From a kubeconfig with one context to the Kubernetes client's settings, as kubectl does it.

The client (36.0.3) itself knows no proxy-url, reads a token's file with its line break, goes on
as nobody where a plugin fails, and takes HTTP_PROXY for clusters that speak HTTPS.
"""

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment

import urllib3
from kubernetes import client, config
from requests.utils import should_bypass_proxies

from kube import exec_plugin, kubeconfig
from kube.errors import KubeError
from kube.kubeconfig import Config
from toolchain import proxies

CREDENTIALS = "credentials"
"""Folder beside the kubeconfig for what the client wants as files. It goes with the cluster's."""
TOKEN = "BearerToken"  # noqa: S105 (the client's name for it)
PROXIES = ("http", "https")
IMPERSONATION = ("as", "as-uid", "as-groups", "as-user-extra")
NO_LOGIN = "no credentials"
NO_OTHER = "proxy-url.invalid"
"""As no_proxy: everything goes through the proxy, whatever the environment says."""


def settings(chosen: Config, folder: Path) -> Any:
    """The client's settings, with credentials that are renewed when they end.

    folder: of the kubeconfig. Raises KubeError for what is not supported and for a plugin that
    fails; ConfigException, OSError, TypeError and ValueError as the client does."""
    require_supported(chosen)
    login = Login(chosen)
    made = client.Configuration()
    made.retries = 0  # a request that was not answered in time is not asked again
    files = folder / CREDENTIALS
    files.mkdir(mode=0o700, parents=True, exist_ok=True)
    user = chosen["users"][0] | {"user": login.plain()}
    config.load_kube_config_from_dict(
        chosen | {"users": [user]}, client_configuration=made, persist_config=False,
        temp_file_path=str(files),
    )  # fmt: skip
    made.refresh_api_key_hook = login.renew
    made.proxy, made.no_proxy = _proxy(chosen["clusters"][0]["cluster"])
    if made.proxy and (proxy := urlsplit(made.proxy)).username:
        basic = f"{unquote(proxy.username or '')}:{unquote(proxy.password or '')}"
        made.proxy_headers = urllib3.make_headers(proxy_basic_auth=basic)
    if not made.verify_ssl:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    return made


def require_supported(chosen: Config) -> None:
    """Raise KubeError, by name, for what the lab would do otherwise than kubectl does."""
    cluster, user = chosen["clusters"][0]["cluster"], chosen["users"][0]["user"]
    of_cluster = f"cluster '{chosen['clusters'][0]['name']}'"
    of_user = f"user '{chosen['users'][0]['name']}'"
    proxy = cluster.get("proxy-url") or "http:"
    if urlsplit(proxy).scheme not in PROXIES:
        raise KubeError(
            f"{of_cluster}: proxy-url '{proxy}': the lab supports only {' and '.join(PROXIES)} "
            "proxies"
        )
    authority = cluster.get("certificate-authority") or cluster.get("certificate-authority-data")
    if cluster.get("insecure-skip-tls-verify") and authority:
        raise KubeError(
            f"{of_cluster}: certificate-authority and insecure-skip-tls-verify exclude each other; "
            "remove one of them"
        )
    if key := next((key for key in IMPERSONATION if user.get(key)), ""):
        raise KubeError(
            f"{of_user}: {key} (acting as somebody else) is not supported; use a context whose "
            "user has the rights"
        )
    provider = (user.get("auth-provider") or {}).get("name")
    if provider not in (None, "oidc"):
        raise KubeError(
            f"{of_user}: auth-provider '{provider}' was removed from kubectl 1.26; have the login "
            "write an exec plugin into the kubeconfig, such as gke-gcloud-auth-plugin or kubelogin"
        )


def _proxy(cluster: Config) -> tuple[str | None, str]:
    """The proxy by which the cluster is reached, None for none, and no_proxy. As with kubectl the
    cluster's own wins over that of the environment."""
    if given := cluster.get("proxy-url"):
        return str(given), NO_OTHER
    server = str(cluster.get("server", ""))
    direct = proxies.no_proxy_variables()["no_proxy"]
    found = getproxies_environment().get(urlsplit(server).scheme)
    if found is None or should_bypass_proxies(server, no_proxy=direct):
        return None, direct
    return found, direct


def kind_of_login(chosen: Config) -> str:
    """Which credentials the user has, for a person: what comes first is used."""
    user = chosen["users"][0]["user"]
    kinds = {
        "tokenFile": f"the token in {user.get('tokenFile')}",
        "token": "a token",
        "auth-provider": "an OpenID Connect token",
        "exec": f"plugin '{(user.get('exec') or {}).get('command')}'",
        "client-certificate-data": "a client certificate",
        "client-certificate": "a client certificate",
        "username": "a name and password",
    }
    return next((words for key, words in kinds.items() if user.get(key)), NO_LOGIN)


class Login:
    """The credentials of the kubeconfig's user, of whatever kind."""

    def __init__(self, chosen: Config) -> None:
        self.chosen = chosen
        self.user: Config = chosen["users"][0]["user"]
        self.ends: datetime | None = None

    def plain(self) -> Config:
        """The user's entry with a token or certificate in it, not the way to one."""
        user = self.user
        if path := user.get("tokenFile"):
            return user | {"token": Path(path).read_text(encoding="utf-8").strip()}
        if user.get("token"):
            return user
        if provider := user.get("auth-provider"):
            if ended := kubeconfig.expired(self.chosen):
                raise KubeError(f"{ended}; any command of kubectl renews it")
            return {"token": provider["config"]["id-token"]}
        if entry := user.get("exec"):
            name, cluster = self.chosen["users"][0]["name"], self.chosen["clusters"][0]["cluster"]
            return self._from_plugin(exec_plugin.run(name, entry, cluster))
        return user

    def _from_plugin(self, status: Config) -> Config:
        ends = status.get("expirationTimestamp")
        self.ends = datetime.fromisoformat(ends) if ends else None
        keys = {
            "client-certificate-data": "clientCertificateData",
            "client-key-data": "clientKeyData",
        }
        pair = {key: base64.b64encode(status[name].encode()).decode()
                for key, name in keys.items() if status.get(name)}  # fmt: skip
        return pair | ({"token": status["token"]} if status.get("token") else {})

    def renew(self, made: Any) -> None:
        """Called before each request: a token's file may have changed, a plugin's token ended."""
        ended = self.ends is not None and self.ends <= datetime.now(UTC)
        if (ended or self.user.get("tokenFile")) and (token := self.plain().get("token")):
            made.api_key[TOKEN] = f"Bearer {token}"
