"""Settings of the DRA driver."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import semver

from components.settings.cluster import OWN
from components.settings.parsers import count, one_of, switch, version
from components.settings.setting import NotAllowed, SettingsError, setting
from toolchain.tools import DRIVER_CHARTS

DRIVERS = ("nvidia", "example")
NEWEST_DRIVER = "0.5.0"
"""The version of which set-up has chart, webhook and, for host nodes, the kubelet plugin."""
EXAMPLE_DRIVER = "0.4.0"
"""The version of dra-example-driver of which set-up has chart and image."""
OLDEST_DRIVER = semver.Version(0, 4, 1)
"""0.4.0 renders a duplicate label; older charts have other names (NVIDIA's release notes)."""
SHARES = ("memory", "unlimited")
"""What consumableShares is besides a number."""
MOST_SHARES = 256
"""No node runs more pods."""
SHARES_DRIVER, SHARES_KUBERNETES = semver.Version(0, 5, 0), semver.Version(1, 36, 0)
"""The first with the gate ConsumableShares, and the first whose DRAConsumableCapacity is on."""
CHART = re.compile(r"oci://[A-Za-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+(:[A-Za-z0-9._-]+)?")


def _driver(value: str, before: Any) -> str:
    driver = one_of(DRIVERS, value)
    if driver == "example" and before.node != OWN:
        raise NotAllowed(value, "the example driver needs cluster=kind or existing")
    return driver


def _driver_version(value: str, before: Any) -> str:
    if before.driver == "example":
        if value not in ("", EXAMPLE_DRIVER):
            raise NotAllowed(value, f"of driver=example: {EXAMPLE_DRIVER}")
        return EXAMPLE_DRIVER
    found = version(value or NEWEST_DRIVER)
    if before.node == "host" and found != NEWEST_DRIVER:
        raise NotAllowed(value, f"a host node runs {NEWEST_DRIVER} only")
    if semver.Version.parse(found) < OLDEST_DRIVER:
        raise NotAllowed(value, f"{OLDEST_DRIVER} or later")
    return found


def _chart(value: str, before: Any) -> str:
    if value:
        return _own_chart(value)
    if before.driver == "example":
        return f"./.tools/charts/dra-example-driver-{before.driver_version}"
    if before.driver_version not in DRIVER_CHARTS:
        allowed = (
            f"set-up has the charts of {', '.join(DRIVER_CHARTS)}; for another version set "
            "driverChart to a folder or an oci:// reference"
        )
        raise SettingsError("driverVersion", before.driver_version, allowed)
    return f"./.tools/charts/dra-driver-nvidia-gpu-{before.driver_version}"


def _own_chart(value: str) -> str:
    """A folder or a packed chart on this machine, or what a registry has, which is asked later."""
    packed = value.endswith(".tgz")
    if not CHART.fullmatch(value) and not Path(value, "" if packed else "Chart.yaml").is_file():
        raise NotAllowed(
            value, "a folder with Chart.yaml, a packed chart (.tgz), or oci://HOST/NAME"
        )
    return value


def _install(value: str, before: Any) -> bool:
    """Clusters of ours have no driver yet; into others one is only put when that is asked for."""
    shared = before.cluster == "existing"
    wanted = switch(value) if value else not shared
    if not (wanted or shared):
        raise NotAllowed(value, "false is for cluster=existing")
    return wanted


def no_shares(driver_version: str, kubernetes_version: str) -> str:
    """Why these have no consumable shares, and what to do; "" if they have."""
    if semver.Version.parse(driver_version) < SHARES_DRIVER:
        old = f"driver {driver_version} does not have it"
        return f"{old}; set driverVersion to {SHARES_DRIVER} or later"
    if semver.Version.parse(kubernetes_version) < SHARES_KUBERNETES:
        old = f"Kubernetes {kubernetes_version} allocates a device to one claim only"
        return f"{old}; set kubernetesVersion to {SHARES_KUBERNETES} or later"
    return ""


def _consumable_shares(value: str, before: Any) -> str:
    if not value:
        return value
    if before.driver != "nvidia" or not before.install_driver:
        raise NotAllowed(value, "only for a driver=nvidia that the lab installs")
    if problem := no_shares(before.driver_version, before.kubernetes_version):
        raise NotAllowed(value, problem)
    if value not in SHARES:
        try:
            count(1, MOST_SHARES, value)
        except NotAllowed as error:
            raise NotAllowed(value, f"{', '.join(SHARES)}, or {error.allowed}") from None
    return value


def _webhook(value: str, before: Any) -> bool:
    """The lab brings NVIDIA's webhook with NVIDIA's driver to clusters of its own."""
    possible = before.cluster != "existing" and before.driver == "nvidia"
    # Another version may read parameters otherwise than the webhook that set-up builds.
    wanted = switch(value) if value else possible and before.driver_version == NEWEST_DRIVER
    if wanted and not possible:
        raise NotAllowed(value, "true is for driver=nvidia, and not for cluster=existing")
    return wanted


@dataclass(frozen=True, kw_only=True)
class DriverSettings:
    """driver_version: without a leading "v"; install_driver: whether the driver is brought, or has
    to be there; webhook: whether claims are checked before they are stored."""

    driver: str = setting(
        default="nvidia",
        meaning="The DRA driver. nvidia, or example: dra-example-driver, whose devices are "
        "mocks, for kind and existing clusters without a GPU.",
        parse=_driver,
    )
    driver_version: str = setting(
        meaning=f"Version of the DRA driver, {OLDEST_DRIVER} or later; decides the chart and "
        f"the shape of simulated slices. Empty: {NEWEST_DRIVER}.",
        parse=_driver_version,
    )
    driver_chart: str = setting(
        meaning="Folder, .tgz or oci:// reference of the driver's chart; empty: set-up's copy "
        "of that version.",
        parse=_chart,
    )
    install_driver: bool = setting(
        meaning="Whether the DRA driver is brought to the cluster: true or false. Empty: "
        "true, on an existing cluster false.",
        parse=_install,
    )
    consumable_shares: str = setting(
        meaning="Lets several claims share one GPU. memory: each takes the memory that it asks "
        f"for; one that does not ask takes all. A number, 1 to {MOST_SHARES}: the GPU has so many "
        "shares; a claim takes one unless it asks for more. unlimited: any number of claims. The "
        "scheduler counts; nothing limits what pods use. Empty: one claim for each GPU. Needs "
        f"driver {SHARES_DRIVER} and Kubernetes {SHARES_KUBERNETES} or later; excludes MPS.",
        parse=_consumable_shares,
    )
    webhook: bool = setting(
        meaning="Whether NVIDIA's admission webhook refuses claims with parameters that its driver "
        "could not read: true or false. Empty: true on clusters of the lab's own "
        f"with driver {NEWEST_DRIVER}.",
        parse=_webhook,
    )
