"""Whose the host node is, what it is told, and what is put back after it. Nothing is started."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import yaml
from cryptography import x509

from machine import host_bridge, host_machine, identity
from machine import host_node as machine_node
from machine import host_places as places
from machine.cluster_state import RUN
from machine.errors import LabError
from machine.host_networks import Networks
from machine.run import Finished
from operations.embedded import kwokctl_config
from operations.embedded import ports as ports_of
from operations.host_node import daemons, node_files
from operations.host_node import node as host_node
from operations.host_node.node import Specification
from toolchain.layout import ROOT

OURS = Networks()
OTHERS = Networks("172.30.0.0/20", "172.30.16.0/24", "172.30.20.0/22")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose folders are in a temporary one, with root as its user."""
    for name in ("STATE", "RUNTIME", "KUBELET", "CDI"):
        monkeypatch.setattr(places, name, tmp_path / name.lower())
    monkeypatch.setattr(places, "OWNER", tmp_path / "state" / "owner.json")
    monkeypatch.setattr(places, "BIN", tmp_path / "state" / "bin")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(host_bridge, "require_free", lambda _: "free")
    monkeypatch.setattr(psutil, "process_iter", lambda _=None: iter(()))
    return tmp_path


def owned_by(stack: str, project: Path) -> None:
    places.STATE.mkdir(parents=True)
    places.OWNER.write_text(json.dumps({"stack": stack, "project": str(project)}))


def test_a_bare_machine_can_have_a_node(machine: Path) -> None:
    assert machine_node.require_usable("module3", OURS) == "free"


def test_without_root_it_says_so(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="needs root; run the same command with sudo"):
        machine_node.require_usable("module3", OURS)


def test_a_second_stack_is_refused_by_name(machine: Path) -> None:
    owned_by("module5", machine)
    with pytest.raises(LabError, match=f"belongs to stack module5 of {machine}.*destroy"):
        machine_node.require_usable("module3", OURS)


def test_the_same_stack_of_this_checkout_may_have_its_node_again(machine: Path) -> None:
    owned_by("module3", ROOT)
    assert machine_node.require_usable("module3", OURS) == "free"
    assert machine_node.is_ours("module3")


@pytest.mark.parametrize("noted", ["its id", "its folder only"])
def test_a_lab_whose_checkout_was_moved_keeps_its_node(
    machine: Path, monkeypatch: pytest.MonkeyPatch, noted: str
) -> None:
    """The node of a lab that was made before there were ids is known by the facts of it."""
    monkeypatch.chdir(machine)
    owned_by("module3", machine / "before-the-move")
    facts = RUN / "module3" / places.FACTS
    facts.parent.mkdir(parents=True)
    facts.write_text(json.dumps({"name": places.NODE}))
    if noted == "its id":
        lab = {"lab": identity.of("module3")}
        places.OWNER.write_text(json.dumps(json.loads(places.OWNER.read_text()) | lab))
        facts.unlink()
    assert machine_node.is_ours("module3")
    assert not machine_node.is_ours("module4")


def test_a_lab_in_the_folder_where_another_one_was_does_not_own_that_ones_node(
    machine: Path,
) -> None:
    owned_by("module3", ROOT)
    known = json.loads(places.OWNER.read_text()) | {"lab": "0123456789ab"}
    places.OWNER.write_text(json.dumps(known))
    assert not machine_node.is_ours("module3")


def test_a_lab_whose_state_was_lost_keeps_its_node(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(machine)
    owned_by("module3", ROOT)
    known = json.loads(places.OWNER.read_text()) | {"lab": "0123456789ab"}
    places.OWNER.write_text(json.dumps(known))
    facts = RUN / "module3" / places.FACTS
    facts.parent.mkdir(parents=True)
    facts.write_text(json.dumps({"name": places.NODE}))
    assert machine_node.is_ours("module3")


def test_the_same_name_in_another_checkout_is_another_stack(machine: Path) -> None:
    owned_by("module3", machine)
    with pytest.raises(LabError, match="belongs to stack module3"):
        machine_node.require_usable("module3", OURS)


def test_a_node_whose_checkout_is_gone_may_be_taken_over(machine: Path) -> None:
    owned_by("module5", machine / "gone")
    assert machine_node.require_usable("module3", OURS) == "free"


def test_the_files_of_another_kubelet_are_left_alone(machine: Path) -> None:
    (places.KUBELET / "pods").mkdir(parents=True)
    with pytest.raises(LabError, match="holds files of another kubelet"):
        machine_node.require_usable("module3", OURS)


def test_a_kubelet_that_runs_here_is_named(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = SimpleNamespace(pid=4711, info={"name": "kubelet", "cmdline": ["/usr/bin/kubelet"]})
    monkeypatch.setattr(psutil, "process_iter", lambda _=None: iter([other]))
    with pytest.raises(LabError, match=r"a kubelet runs here already \(process 4711\)"):
        machine_node.require_usable("module3", OURS)


def test_removing_where_there_is_none_is_no_error_and_needs_no_root(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_node, "LOCK", machine / "no" / "such" / "folder")
    host_node.remove("module3")
    assert not (machine / "no").exists()


def test_another_stacks_node_is_not_removed(machine: Path) -> None:
    owned_by("module5", machine)
    host_node.remove("module3")
    assert places.OWNER.exists()


def test_a_node_without_its_files_cannot_be_revived(machine: Path) -> None:
    with pytest.raises(LabError, match="files of the host node of stack module3 are gone"):
        host_node.revive("module3", "abcd", "now")


# --- networks ------------------------------------------------------------------------------------


class Kernel:
    """Routes as netlink tells them: destination, length, interface, and the table they are in."""

    def __init__(self, *routes: tuple[str | None, int, str], table: int = 254) -> None:
        self.routes, self.table = routes, table

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: object) -> None: ...

    def get_routes(self, family: int) -> list[Any]:
        return [
            Message({"RTA_DST": dst, "RTA_OIF": n, "RTA_TABLE": self.table}, size)
            for n, (dst, size, _) in enumerate(self.routes, 1)
        ]

    def get_links(self, index: int) -> list[Any]:
        return [Message({"IFLA_IFNAME": self.routes[index - 1][2]}, 0)]


class Message:
    def __init__(self, attributes: dict[str, Any], length: int) -> None:
        self.attributes, self.length = attributes, length

    def get_attr(self, name: str) -> Any:
        return self.attributes.get(name)

    def __getitem__(self, key: str) -> int:
        assert key == "dst_len"
        return self.length


def test_usual_routes_are_not_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel((None, 0, "eth0"), ("192.168.1.0", 24, "eth0"), ("10.96.0.0", 16, "cni0"))
    monkeypatch.setattr(host_bridge, "IPRoute", lambda: kernel)
    assert OURS.pods in host_bridge.require_free(OURS)


@pytest.mark.parametrize("wider", [("10.0.0.0", 8), ("10.253.0.0", 16), ("10.253.88.0", 23)])
def test_a_wider_route_is_not_in_the_way(
    monkeypatch: pytest.MonkeyPatch, wider: tuple[str, int]
) -> None:
    """Such as a VPN's: of two routes that fit the kernel takes the one with the longer prefix."""
    kernel = Kernel((None, 0, "eth0"), (*wider, "vpn0"))
    monkeypatch.setattr(host_bridge, "IPRoute", lambda: kernel)
    assert OURS.pods in host_bridge.require_free(OURS)


@pytest.mark.parametrize("taken", [("10.253.88.0", 24), ("10.253.88.128", 25), ("10.253.0.7", 32)])
def test_a_route_into_our_networks_is_named(
    monkeypatch: pytest.MonkeyPatch, taken: tuple[str, int]
) -> None:
    kernel = Kernel((None, 0, "eth0"), (*taken, "vpn0"))
    monkeypatch.setattr(host_bridge, "IPRoute", lambda: kernel)
    with pytest.raises(LabError, match=f"overlaps with the route to {taken[0]}.*vpn0") as no:
        host_bridge.require_free(OURS)
    assert "hostNetworks" in no.value.remedy


def test_a_wider_route_in_a_table_that_is_asked_before_ours_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As Tailscale has them: there no longer prefix is looked for."""
    kernel = Kernel((None, 0, "tailscale0"), ("10.0.0.0", 8, "tailscale0"), table=52)
    monkeypatch.setattr(host_bridge, "IPRoute", lambda: kernel)
    with pytest.raises(LabError, match=r"route to 10\.0\.0\.0/8 through tailscale0"):
        host_bridge.require_free(OURS)


def test_networks_of_ones_own_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(("10.253.88.0", 24, "vpn0"))
    monkeypatch.setattr(host_bridge, "IPRoute", lambda: kernel)
    assert host_bridge.require_free(OTHERS) == "172.30.0.0/20, 172.30.16.0/24, 172.30.20.0/22"


def test_our_own_bridges_are_not_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel((OURS.pods.split("/")[0], 24, places.POD_BRIDGE))
    monkeypatch.setattr(host_bridge, "IPRoute", lambda: kernel)
    host_bridge.require_free(OURS)


def test_what_the_daemons_are_told_follows_the_networks() -> None:
    assert (OTHERS.api, OTHERS.node_address) == ("172.30.0.1", "172.30.16.1")
    assert OTHERS.pods in json.dumps(node_files.network(OTHERS))
    assert node_files.kubelet(OTHERS)["address"] == "172.30.16.1"
    told = node_files.commands("127.0.0.1:1", OTHERS)
    assert "172.30.0.1:443" in told["node-proxy"]
    assert "--node-ip=172.30.16.1" in told["kubelet"]


def test_a_node_goes_on_with_the_networks_that_it_was_made_with(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    wanted = asdict(Specification("module3", "abcd", asdict(OTHERS)))
    facts = {"cluster_id": "abcd", "specification": wanted}
    monkeypatch.setattr(host_node, "facts_of", lambda _: facts)
    monkeypatch.setattr(host_node, "LOCK", machine / "lock")
    monkeypatch.setattr(Path, "exists", lambda _: True)
    monkeypatch.setattr(host_node, "find_gpus", lambda _: (None, []))
    monkeypatch.setattr(host_bridge, "make", asked.append)
    monkeypatch.setattr(host_machine, "make_groups", lambda: None)
    monkeypatch.setattr(host_machine, "share", lambda _: None)
    monkeypatch.setattr(daemons, "end_orphans", lambda: None)
    for name in ("_wait_until_ready", "_server"):
        monkeypatch.setattr(host_node, name, lambda *_: "")
    monkeypatch.setattr(daemons, "start_daemons", lambda _server, told: asked.append(told))
    host_node.revive("module3", "abcd", "now")
    assert asked == [OTHERS, OTHERS]


# --- what the daemons are told --------------------------------------------------------------------


def test_all_that_the_daemons_write_is_in_our_folders() -> None:
    own = tuple(map(str, (places.STATE, places.RUNTIME)))
    told = node_files.kubelet(OURS)
    assert told["podLogsDir"].startswith(own)
    assert told["volumePluginDir"].startswith(own)
    assert told["containerRuntimeEndpoint"].removeprefix("unix://").startswith(own)
    text = node_files.containerd()
    folders = [
        line.split('"')[1] for line in text.splitlines() if line.startswith(("root", "state"))
    ]
    assert len(folders) == 2
    assert all(folder.startswith(own) for folder in folders)
    assert "{" not in text


def test_the_kubelet_answers_only_who_may_ask() -> None:
    told = node_files.kubelet(OURS)
    assert told["authentication"]["anonymous"] == {"enabled": False}
    assert told["authorization"] == {"mode": "Webhook"}
    assert told["address"] == OURS.node_address
    assert told["readOnlyPort"] == 0


def test_the_nodes_certificate_is_that_of_a_node(tmp_path: Path) -> None:
    authority(tmp_path)
    certificate, key = node_files.node_certificate(tmp_path)
    found = x509.load_pem_x509_certificate(certificate)
    assert found.subject.rfc4514_string() == f"CN=system:node:{places.NODE},O=system:nodes"
    assert b"PRIVATE KEY" in key


def authority(folder: Path) -> None:
    """A certificate authority as the cluster has one."""
    from datetime import UTC, datetime, timedelta

    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "ca.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )


def test_under_systemd_a_daemon_is_a_unit_that_leaves_its_containers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> Any:
        asked.append(command)
        return Finished(0, "", "")

    monkeypatch.setattr(daemons, "SYSTEMD", tmp_path)
    monkeypatch.setattr(daemons, "run_program", run)
    daemons.start("containerd", ["/bin/containerd", "--config", "c"])
    (command,) = asked
    assert command[:2] == ["systemd-run", "--unit=dra-workshop-containerd"]
    assert "--property=KillMode=process" in command
    assert "--property=Restart=always" in command
    # Else SELinux may refuse the program, and systemd-run ends with 0 all the same.
    assert "--property=Type=exec" in command
    assert command[-3:] == ["/bin/containerd", "--config", "c"]


# --- putting back ---------------------------------------------------------------------------------


def test_kernel_settings_are_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_machine, "KERNEL", tmp_path)
    monkeypatch.setattr(host_machine, "SETTINGS", {"kernel/panic": "10", "kernel/not-there": "1"})
    monkeypatch.setattr(host_machine, "own_files", list)
    monkeypatch.setattr(host_machine, "SHARED", ())
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel/panic").write_text("0\n")
    before = host_machine.noted()
    (tmp_path / "kernel/panic").write_text("10\n")

    host_machine.put_back(before)

    assert (tmp_path / "kernel/panic").read_text().strip() == "0"


def test_folders_that_were_not_there_go_and_others_files_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty, used, old = tmp_path / "empty", tmp_path / "used", tmp_path / "old"
    monkeypatch.setattr(host_machine, "SHARED", (empty, used, old))
    monkeypatch.setattr(host_machine, "SETTINGS", {})
    monkeypatch.setattr(host_machine, "own_files", list)
    old.mkdir()
    before = host_machine.noted()
    (empty / "below").mkdir(parents=True)
    used.mkdir()
    (used / "file").touch()

    host_machine.put_back(before)

    assert not empty.exists()
    assert (used / "file").exists()
    assert old.exists()


@pytest.mark.parametrize("was_there", [False, True])
def test_notes_on_loopback_interfaces_stay_where_another_runtime_may_have_made_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, was_there: bool
) -> None:
    notes = tmp_path / "cni" / "results"
    monkeypatch.setattr(host_machine, "CNI_NOTES", notes)
    monkeypatch.setattr(host_machine, "SHARED", (notes.parent,))
    monkeypatch.setattr(host_machine, "SETTINGS", {})
    if was_there:
        notes.mkdir(parents=True)
    before = host_machine.noted()
    notes.mkdir(parents=True, exist_ok=True)
    (notes / "cni-loopback-1234-lo").touch()

    host_machine.put_back(before)

    assert notes.exists() is was_there


def test_a_folder_with_something_mounted_in_it_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "driver").mkdir()
    (tmp_path / "driver" / "libcuda.so").touch()
    monkeypatch.setattr(host_machine, "OWN", (tmp_path,))
    part = SimpleNamespace(mountpoint=str(tmp_path / "driver"))
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: [part])
    monkeypatch.setattr(host_machine, "run_program", lambda *_, **__: None)

    with pytest.raises(LabError, match="driver cannot be unmounted"):
        host_machine.remove_folders(tmp_path)

    assert (tmp_path / "driver" / "libcuda.so").exists()


def test_every_cluster_tells_which_node_it_may_have(tmp_path: Path) -> None:
    ports = dict.fromkeys(ports_of.COMPONENTS, 1)
    path = kwokctl_config.write(tmp_path, ports, tmp_path, Networks())
    told = next(yaml.safe_load_all(path.read_text()))
    assert told["options"]["kubeApiserverCertSANs"] == [OURS.api]


def test_the_folders_of_a_node_are_for_root_only_also_older_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = (tmp_path / "run", tmp_path / "kubelet", tmp_path / "state")
    monkeypatch.setattr(host_machine, "OWN", own)
    own[2].mkdir(mode=0o755)
    host_machine.make_folders()
    assert [folder.stat().st_mode & 0o777 for folder in own] == [0o700] * 3


def test_a_node_that_does_not_start_tells_why_whatever_cannot_be_removed(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(machine)
    logs = machine / "logs"
    logs.mkdir()
    (logs / "kubelet.log").write_text("E0101 no cgroups\n")
    monkeypatch.setattr(node_files, "LOGS", logs)
    monkeypatch.setattr(host_node, "LOCK", machine / "lock")
    removals = iter([None, LabError("mount /x is left")])

    def remove() -> None:
        if (error := next(removals)) is not None:
            raise error

    def take(stack: str) -> None:
        raise LabError("the kubelet does not answer")

    monkeypatch.setattr(host_node, "_remove", remove)
    monkeypatch.setattr(host_node, "_take", take)
    with pytest.raises(LabError) as failure:
        host_node.make(host_node.Specification("dev", "1"))
    assert str(failure.value) == (
        "the kubelet does not answer\n  kubelet.log: E0101 no cgroups\n"
        "  all logs: .results/dev/failed-start/\n"
        "and not everything that was made could be removed: mount /x is left"
    )
    assert (machine / ".results" / "dev" / "failed-start" / "kubelet.log").exists()
