"""The three networks of a host node, which nothing else on its machine may use."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

WIDEST, NARROWEST = 16, 24
"""Lengths of their prefixes: Kubernetes wants services narrower than /12, and a node's 110 pods
need more than a /25."""
ALLOWED = f"an IPv4 network, such as 10.253.0.0/24, from /{WIDEST} to /{NARROWEST}"


@dataclass(frozen=True)
class Networks:
    """Of the addresses of Services, of the node, and of its pods."""

    services: str = "10.253.0.0/24"
    node: str = "10.253.77.0/24"
    pods: str = "10.253.88.0/24"

    @property
    def api(self) -> str:
        """Address of the service `kubernetes`: the first, as Kubernetes has it."""
        return str(IPv4Network(self.services)[1])

    @property
    def node_address(self) -> str:
        return str(IPv4Network(self.node)[1])

    def all(self) -> list[IPv4Network]:
        return [IPv4Network(each) for each in (self.services, self.node, self.pods)]


def unusable(given: Sequence[str]) -> tuple[object, str] | None:
    """The first value that cannot be used, and what is allowed; None if all can be."""
    if len(given) != 3:
        return given, "three networks: of services, of the node, of pods"
    earlier: list[IPv4Network] = []
    for text in given:
        try:
            network = IPv4Network(text)
        except ValueError:
            return text, ALLOWED
        if not WIDEST <= network.prefixlen <= NARROWEST:
            return text, ALLOWED
        special = network.is_loopback or network.is_link_local or network.is_reserved
        if network.is_global or network.is_multicast or special:
            return text, "a private network, as those in 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16"
        if other := next((each for each in earlier if each.overlaps(network)), None):
            return text, f"it overlaps with {other}"
        earlier.append(network)
    return None
