"""The host node's network: a bridge that carries the node's address and that of the API service.

No iptables: at the service's address a proxy of ours listens (toolchain/modules/node-proxy), and
pods reach each other and the node over a bridge that the CNI plugin makes.
"""

import errno
from ipaddress import IPv4Network
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from machine import host_places as places
from machine.errors import LabError
from machine.host_networks import Networks

OURS = (places.BRIDGE, places.POD_BRIDGE)
KERNELS_TABLES = (253, 254, 255)
"""default, main and local; local is looked up first, but has addresses of this machine only."""


def require_free(networks: Networks) -> str:
    """The networks that the node will use. Raises LabError naming a route that is in the way.

    The kernel takes the longest prefix that fits, so wider routes are not in the way, except in
    other tables, which it looks up before the main one.
    """
    wanted = networks.all()
    with IPRoute() as kernel:
        for route in kernel.get_routes(family=2):
            network, interface = _destination(route), _interface(kernel, route)
            theirs = network.prefixlen > 0 and route.get_attr("RTA_TABLE") not in KERNELS_TABLES
            taken = [w for w in wanted if network.subnet_of(w) or (theirs and w.overlaps(network))]
            if taken and interface not in OURS:
                raise LabError(
                    f"network {taken[0]} of the host node overlaps with the route to {network} "
                    f"through {interface or 'no interface'}",
                    "set hostNetworks to three networks that this machine does not use, or end "
                    "the program that made the route",
                )
    return ", ".join(map(str, wanted))


def _destination(route: Any) -> IPv4Network:
    # The default route has no destination: it goes to all addresses.
    return IPv4Network((route.get_attr("RTA_DST") or 0, route["dst_len"]), strict=False)


def _interface(kernel: IPRoute, route: Any) -> str:
    index = route.get_attr("RTA_OIF")
    links = kernel.get_links(index) if index else []
    return str(links[0].get_attr("IFLA_IFNAME")) if links else ""


def make(networks: Networks) -> None:
    """Make the bridge with its addresses, as far as it is missing."""
    with IPRoute() as kernel:
        if not kernel.link_lookup(ifname=places.BRIDGE):
            kernel.link("add", ifname=places.BRIDGE, kind="bridge")
        (index,) = kernel.link_lookup(ifname=places.BRIDGE)
        kernel.link("set", index=index, state="up")
        present = {a.get_attr("IFA_ADDRESS") for a in kernel.get_addr(index=index)}
        node_length = IPv4Network(networks.node).prefixlen
        for address, length in ((networks.node_address, node_length), (networks.api, 32)):
            if address not in present:
                kernel.addr("add", index=index, address=address, prefixlen=length)


def remove() -> None:
    """Remove the bridges, and first the ends of pods' interfaces that are attached to them."""
    with IPRoute() as kernel:
        for bridge in (index for name in OURS for index in kernel.link_lookup(ifname=name)):
            links = kernel.get_links()
            ends = [link["index"] for link in links if link.get_attr("IFLA_MASTER") == bridge]
            for index in (*ends, bridge):
                try:
                    kernel.link("del", index=index)
                except NetlinkError as error:
                    # A pod's interface goes by itself when the last process of its network ends.
                    if error.code != errno.ENODEV:
                        raise


def remaining() -> list[str]:
    """Our interfaces that exist."""
    with IPRoute() as kernel:
        return [name for name in OURS if kernel.link_lookup(ifname=name)]
