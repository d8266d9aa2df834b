"""A shared cluster as module 0 sees it, each thing read once."""

from contextlib import ExitStack
from functools import cached_property
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError, MaxRetryError

from checks.result import CheckFailed
from kube import devices, kubeconfig, ownership
from kube.client import Kube, opened
from machine import cluster_state

LONGEST_REASON = 300
ANSWER_SECONDS = 10


class Look:
    """What the statements look at, each asked for once."""

    def __init__(self, parameters: dict[str, Any], open_files: ExitStack) -> None:
        self.given, self.open_files = parameters, open_files

    @cached_property
    def entries(self) -> kubeconfig.Entries:
        return kubeconfig.read(self.given["kubeconfig"])

    @cached_property
    def config(self) -> kubeconfig.Config:
        return kubeconfig.only(self.entries, self.given["context"])

    @cached_property
    def kube(self) -> Kube:
        folder = cluster_state.RUN / self.given["stack"]
        return self.open_files.enter_context(opened(self.config, folder))

    @cached_property
    def version(self) -> str | ApiException:
        """What the API server calls itself, or how it refuses to tell. CheckFailed if nothing
        answers."""
        try:
            version = client.VersionApi(self.kube.api)
            return str(version.get_code(_request_timeout=ANSWER_SECONDS).git_version)
        except ApiException as error:
            return error
        except (HTTPError, OSError) as error:
            reason = error.reason if isinstance(error, MaxRetryError) else error
            text = " ".join(str(reason).split())[:LONGEST_REASON]
            raise CheckFailed(f"{kubeconfig.server(self.config)}: {text}") from error

    @cached_property
    def nodes(self) -> dict[str, Any]:
        listed = self.kube.get(self.kube.core.list_node).items
        return {node.metadata.name: node for node in listed}

    @cached_property
    def published(self) -> list[devices.Device]:
        return devices.read_published(self.kube, self.given["driver"])

    @cached_property
    def gpu_nodes(self) -> list[ownership.GpuNode]:
        return ownership.gpu_nodes(self.nodes.values(), self.published)

    @cached_property
    def namespaces(self) -> dict[str, Any]:
        listed = self.kube.get(self.kube.core.list_namespace).items
        return {namespace.metadata.name: namespace for namespace in listed}

    def is_ours(self, namespace: str) -> bool:
        found = self.namespaces.get(namespace)
        return found is not None and ownership.is_ours(found.metadata, self.given["stack"])

    @cached_property
    def drivers(self) -> list[dict[str, str]]:
        """The drivers that are not this lab's: namespace, plugin and version of each."""
        listed = self.kube.get(self.kube.apps.list_daemon_set_for_all_namespaces).items
        chart = self.given["chart"]
        found = ownership.drivers(listed, chart, self.given["plugin"])
        described = [ownership.described(item, chart) for item in found]
        return [each for each in described if not self.is_ours(each["namespace"])]

    @cached_property
    def target(self) -> devices.Device | None:
        return ownership.the_one(self.published, self.given["target"])

    @property
    def simulated(self) -> bool:
        """Whether the target's node is, as far as it is published."""
        where = next((d.node for d in self.published if d.uuid == self.given["target"]), "")
        return where in self.nodes and ownership.is_simulated(self.nodes[where])
