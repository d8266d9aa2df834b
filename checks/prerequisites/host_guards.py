"""Module 0 on a GPU host: whether SELinux and firewalls let the node's programs and pods work.

Only read: what has to be allowed is the machine owner's to allow, by the command in the remedy.
"""

import re
from pathlib import Path

from checks.prerequisites.statements import output_of, read
from checks.result import CheckFailed, CheckSkipped, require
from machine import host_node
from machine.host_networks import Networks
from machine.host_places import BIN, POD_BRIDGE

ROOT = Path("/")
ENFORCE = "sys/fs/selinux/enforce"
BRIDGED = "proc/sys/net/bridge/bridge-nf-call-iptables"
PROGRAM_LABEL = "bin_t"
LABEL_PROGRAMS = (
    f"run: sudo semanage fcontext --add --type {PROGRAM_LABEL} '{BIN}(/.*)?'; or, for as long as "
    "the node runs: sudo setenforce 0"
)


def selinux() -> str:
    """Whether systemd may start the node's programs: SELinux lets it only those with a label of
    programs, and systemd-run would say that all went well."""
    if read(ROOT / ENFORCE) != "1":
        return "SELinux is not enforcing"
    if not host_node.SYSTEMD.exists():
        return "SELinux is enforcing, but no systemd starts the programs"
    context = output_of("matchpathcon", "-n", str(BIN / "kubelet")) or ""
    label = context.strip().split(":")[2] if context.count(":") >= 2 else "var_lib_t"
    return require(label == PROGRAM_LABEL, f"SELinux is enforcing, and labels {BIN} {label}")


def firewall(networks: Networks) -> str:
    """Whether pods may reach the API server, at an address of this machine."""
    if (output_of("firewall-cmd", "--state") or "").strip() == "running":
        return _firewalld(networks.pods)
    rules = _rules()
    if not _closes(rules, "INPUT") or _accepts(rules, "INPUT", networks.pods):
        return "no rule is in the way"
    who, allow = "the chain INPUT of iptables", f"iptables -I INPUT -i {POD_BRIDGE} -j ACCEPT"
    if "-N ufw-" in rules:
        who, allow = "ufw", f"ufw allow in on {POD_BRIDGE}"
    raise CheckFailed(f"{who} lets nothing in from {POD_BRIDGE}", remedy=f"run: sudo {allow}")


def _firewalld(pods: str) -> str:
    """The zone of a source comes before that of an interface; without either it is the default."""
    questions = (
        f"--get-zone-of-source={pods}",
        f"--get-zone-of-interface={POD_BRIDGE}",
        "--get-default-zone",
    )
    answers = (output_of("firewall-cmd", question) for question in questions)
    zone = next((answer.strip() for answer in answers if answer), "")
    listed = output_of("firewall-cmd", f"--zone={zone}", "--list-all") or ""
    if not re.search(r"target: ACCEPT|services:.*\bhttps\b|ports:.*\b443/tcp", listed):
        raise CheckFailed(
            f"firewalld has the pods' network {pods} in zone {zone}, which keeps them from the API "
            "server",
            remedy=f"run: sudo firewall-cmd --zone=trusted --add-source={pods} (and the same "
            "with --permanent, to keep it across restarts)",
        )
    return f"firewalld has the pods' network in zone {zone}"


def forwarding(networks: Networks) -> str:
    """Whether pods may reach each other: with br_netfilter even what stays on their bridge goes
    through iptables, and Docker has it drop what it does not know."""
    if read(ROOT / BRIDGED) != "1":
        return "no firewall looks at what stays on a bridge"
    rules = _rules()
    if not _closes(rules, "FORWARD") or _accepts(rules, "FORWARD", networks.pods):
        return "no rule is in the way"
    chain = "DOCKER-USER" if "-N DOCKER-USER" in rules else "FORWARD"
    raise CheckFailed(
        f"br_netfilter hands what is on {POD_BRIDGE} to iptables, whose chain FORWARD drops it",
        remedy=f"run: sudo iptables -I {chain} -i {POD_BRIDGE} -o {POD_BRIDGE} -j ACCEPT",
    )


def _rules() -> str:
    rules = output_of("iptables", "-S")
    if rules is None:
        raise CheckSkipped("iptables does not tell its rules here")
    return rules


def _closes(rules: str, chain: str) -> bool:
    last = rf"^(-P {chain} DROP|-A {chain} -j (DROP|REJECT)\b.*)$"
    return re.search(last, rules, re.MULTILINE) is not None


def _accepts(rules: str, hook: str, pods: str) -> bool:
    """Whether some rule accepts what comes from the pods, among the chains that the hook calls."""
    accepting = re.compile(rf"-A (\S+) .*(-i {POD_BRIDGE}|-s {re.escape(pods)}) .*-j ACCEPT")
    found = filter(None, map(accepting.match, rules.splitlines()))
    return bool({rule[1] for rule in found} & _called(rules, hook))


def _called(rules: str, hook: str) -> set[str]:
    jumps = re.findall(r"^-A (\S+) .*?-[jg] (\S+)", rules, re.MULTILINE)
    called: set[str] = set()
    further = {hook}
    while further - called:
        called |= further
        further = {target for chain, target in jumps if chain in called}
    return called
