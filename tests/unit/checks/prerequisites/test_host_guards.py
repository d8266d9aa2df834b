"""SELinux and firewalls that would keep a host node from working, as machines that have them tell.

Written here in the shape in which they print it: Fedora (SELinux, firewalld), Ubuntu (ufw), Debian
with Docker.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from checks.prerequisites import host_guards
from checks.prerequisites import host_node as prerequisites
from machine import host_node
from machine.host_networks import Networks
from machine.host_places import BIN, POD_BRIDGE
from tests.unit.fake_kube import findings

NETWORKS = Networks()
PUBLIC = """\
public (default, active)
  target: default
  interfaces: eth0
  services: dhcpv6-client ssh
  ports: 
  masquerade: no
"""  # noqa: W291
TRUSTED = """\
trusted (active)
  target: ACCEPT
  sources: 10.253.88.0/24
  services: 
"""  # noqa: W291
DOCKER = """\
-P INPUT ACCEPT
-P FORWARD DROP
-P OUTPUT ACCEPT
-N DOCKER
-N DOCKER-USER
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A DOCKER-USER -j RETURN
"""
UFW = """\
-P INPUT DROP
-P FORWARD DROP
-P OUTPUT ACCEPT
-N ufw-user-input
-A INPUT -j ufw-before-input
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -j ufw-user-input
-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT
"""
REJECTING = """\
-P INPUT ACCEPT
-P FORWARD ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -j REJECT --reject-with icmp-host-prohibited
-A FORWARD -j REJECT --reject-with icmp-host-prohibited
"""
OPEN = "-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-P OUTPUT ACCEPT\n"


class Machine:
    """One that has no SELinux and no firewall, unless it is told so."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root, self.answers = root, {"iptables -S": OPEN}
        (root / "systemd").mkdir()
        patch.setattr(host_guards, "ROOT", root)
        patch.setattr(host_guards, "output_of", lambda *asked: self.answers.get(" ".join(asked)))
        patch.setattr(host_node, "SYSTEMD", root / "systemd")
        patch.setattr(host_node, "require_usable", lambda *_: "free")
        patch.setattr(host_node, "missing_tools", list)

    def kernel(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True)
        (self.root / path).write_text(text)

    def firewalld(self, zone: str, listed: str, question: str = "--get-default-zone") -> None:
        self.answers["firewall-cmd --state"] = "running\n"
        self.answers[f"firewall-cmd {question}"] = f"{zone}\n"
        self.answers[f"firewall-cmd --zone={zone} --list-all"] = listed


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def found(identity: str, status: str) -> dict[str, Any]:
    parameters = {"stack": "lab", "gpu": False, "gpus": "real", "networks": {}}
    finding = findings(prerequisites.run("0", parameters))[identity]
    assert finding["status"] == status, finding
    return finding


def test_a_machine_without_any_of_it_passes(machine: Machine) -> None:
    for identity in ("host-selinux", "host-firewall", "host-forwarding"):
        found(identity, "passed")


# --- SELinux -------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["system_u:object_r:var_lib_t:s0\n", None])
def test_selinux_that_labels_the_programs_as_data_is_told(
    machine: Machine, label: str | None
) -> None:
    machine.kernel(host_guards.ENFORCE, "1")
    if label:
        machine.answers[f"matchpathcon -n {BIN}/kubelet"] = label
    told = found("host-selinux", "failed")
    assert told["found"] == f"SELinux is enforcing, and labels {BIN} var_lib_t"
    assert f"sudo semanage fcontext --add --type bin_t '{BIN}(/.*)?'" in told["remedy"]


def test_selinux_that_was_told_of_the_programs_passes(machine: Machine) -> None:
    machine.kernel(host_guards.ENFORCE, "1")
    machine.answers[f"matchpathcon -n {BIN}/kubelet"] = "system_u:object_r:bin_t:s0\n"
    found("host-selinux", "passed")


def test_selinux_that_only_warns_or_starts_nothing_passes(machine: Machine) -> None:
    machine.kernel(host_guards.ENFORCE, "0")
    found("host-selinux", "passed")
    (machine.root / host_guards.ENFORCE).write_text("1")
    (machine.root / "systemd").rmdir()
    found("host-selinux", "passed")


# --- firewalls -----------------------------------------------------------------------------------


def test_firewalld_in_the_way_is_told(machine: Machine) -> None:
    machine.firewalld("public", PUBLIC)
    told = found("host-firewall", "failed")
    assert "10.253.88.0/24 in zone public" in told["found"]
    assert "sudo firewall-cmd --zone=trusted --add-source=10.253.88.0/24" in told["remedy"]


@pytest.mark.parametrize(
    "question",
    [f"--get-zone-of-source={NETWORKS.pods}", f"--get-zone-of-interface={POD_BRIDGE}"],
)
def test_firewalld_that_trusts_the_pods_passes(machine: Machine, question: str) -> None:
    machine.firewalld("public", PUBLIC)
    machine.firewalld("trusted", TRUSTED, question)
    found("host-firewall", "passed")


def test_firewalld_that_lets_in_what_pods_ask_for_passes(machine: Machine) -> None:
    machine.firewalld("public", PUBLIC.replace("ssh", "https ssh"))
    found("host-firewall", "passed")


@pytest.mark.parametrize(
    ("rules", "named", "command"),
    [
        (UFW, "ufw lets nothing in", f"sudo ufw allow in on {POD_BRIDGE}"),
        (REJECTING, "INPUT of iptables", f"sudo iptables -I INPUT -i {POD_BRIDGE} -j ACCEPT"),
    ],
)
def test_rules_that_let_no_pod_in_are_told(
    machine: Machine, rules: str, named: str, command: str
) -> None:
    machine.answers["iptables -S"] = rules
    told = found("host-firewall", "failed")
    assert named in told["found"]
    assert told["remedy"] == f"run: {command}"
    chain = "ufw-user-input" if rules == UFW else "INPUT"
    machine.answers["iptables -S"] = f"{rules}-A {chain} -i {POD_BRIDGE} -j ACCEPT\n"
    found("host-firewall", "passed")


def test_a_rule_for_one_way_opens_not_the_other(machine: Machine) -> None:
    """ufw beside Docker: pods reach the API server by one remedy, each other by another."""
    machine.kernel(host_guards.BRIDGED, "1")
    both = f"{UFW}-N DOCKER-USER\n-A FORWARD -j DOCKER-USER\n"
    machine.answers["iptables -S"] = f"{both}-A ufw-user-input -i {POD_BRIDGE} -j ACCEPT\n"
    found("host-firewall", "passed")
    found("host-forwarding", "failed")
    within = f"-A DOCKER-USER -i {POD_BRIDGE} -o {POD_BRIDGE} -j ACCEPT\n"
    machine.answers["iptables -S"] = f"{both}{within}"
    found("host-firewall", "failed")
    found("host-forwarding", "passed")


# --- bridged traffic -----------------------------------------------------------------------------


@pytest.mark.parametrize(("rules", "chain"), [(DOCKER, "DOCKER-USER"), (REJECTING, "FORWARD")])
def test_br_netfilter_with_a_chain_that_drops_is_told(
    machine: Machine, rules: str, chain: str
) -> None:
    machine.answers["iptables -S"] = rules
    found("host-forwarding", "passed")
    machine.kernel(host_guards.BRIDGED, "1")
    told = found("host-forwarding", "failed")
    rule = f"{chain} -i {POD_BRIDGE} -o {POD_BRIDGE} -j ACCEPT"
    assert "br_netfilter" in told["found"]
    assert told["remedy"] == f"run: sudo iptables -I {rule}"
    machine.answers["iptables -S"] = f"{rules}-A {rule}\n"
    found("host-forwarding", "passed")


def test_without_iptables_nothing_is_claimed(machine: Machine) -> None:
    machine.kernel(host_guards.BRIDGED, "1")
    del machine.answers["iptables -S"]
    assert "iptables" in found("host-forwarding", "skipped")["found"]
