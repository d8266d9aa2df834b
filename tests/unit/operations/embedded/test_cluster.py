"""Embedded clusters without a cluster: kwokctl is replaced, processes are real where they count."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

import filelock
import psutil
import pytest
import yaml

from machine import cluster_state, identity, processes
from machine.errors import LabError
from machine.host_networks import Networks
from operations import common
from operations.embedded import cluster as embedded
from operations.embedded import kwokctl_config, webhook
from operations.embedded import ports as port_range
from operations.embedded.cluster import Specification
from operations.embedded.ports import COMPONENTS
from tests import mocks
from toolchain import cache

WANTED = Specification(
    "dev", "1.36.4", ["DRAExtendedResource=true"], ["resource.k8s.io/v1=true"], "abc"
)
Patch = pytest.MonkeyPatch
KUBECONFIG = "clusters: [{cluster: {server: https://127.0.0.1:31999}}]\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the files of cluster "dev" belong."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / ".run" / "dev"


# --- ports and addresses -------------------------------------------------------------------------


def test_two_clusters_keep_clear_of_each_other_even_when_one_is_down() -> None:
    # Not below the folder of the tests, whose name decides where each begins to look.
    first, second = (port_range.free_ports(Path(name)) for name in ("/lab/first", "/lab/second"))
    assert not set(first.values()) & set(second.values())
    assert port_range.free_ports(Path("/lab/first")) == first, "the same place every time"


Told = dict[str, dict[str, str]]


@pytest.fixture
def told() -> Told:
    """Component → flag → value, of what kwokctl is told in its file."""
    ports = {name: 20000 + number for number, name in enumerate(COMPONENTS)}
    return kwokctl_config.arguments(ports, Path("/pki"), Networks())


def test_every_component_listens_on_loopback_only(told: Told) -> None:
    assert set(told) == set(COMPONENTS) - {"etcd-peer", "dra-webhook"}
    listening = ("bind-address", "server-address", "client-urls", "peer-urls", "initial-cluster")
    flags = [item for of_one in told.values() for item in of_one.items()]
    addresses = [value for flag, value in flags if flag.endswith(listening)]
    assert len(addresses) == 9
    assert all("127.0.0.1" in address for address in addresses)


def test_etcd_asks_for_a_certificate_at_every_address(told: Told) -> None:
    etcd = told["etcd"]
    urls = [value for value in etcd.values() if "://" in value]
    assert len(urls) == 5
    assert all("https://" in url for url in urls)
    assert etcd["client-cert-auth"] == etcd["peer-client-cert-auth"] == "true"
    assert told["kube-apiserver"]["etcd-servers"] == etcd["advertise-client-urls"]


def test_what_kwokctl_gives_too_is_replaced_where_values_would_add_up(tmp_path: Path) -> None:
    ports = {name: 20000 + number for number, name in enumerate(COMPONENTS)}
    path = kwokctl_config.write(tmp_path, ports, Path("/pki"), Networks())
    of_cluster, of_kwok = yaml.safe_load_all(path.read_text())
    replaced = {
        (patch["name"], argument["key"])
        for patch in of_cluster["componentsPatches"]
        for argument in patch["extraArgs"]
        if argument["override"]
    }
    paths = "authorization-always-allow-paths"
    assert replaced == {
        ("kube-apiserver", "etcd-servers"),
        ("kube-controller-manager", paths),
        ("kube-scheduler", paths),
    }
    assert of_kwok["options"]["enableDebuggingHandlers"] is False


def test_kwok_leaves_real_nodes_alone(told: Told) -> None:
    kwok = told["kwok-controller"]
    assert kwok["manage-all-nodes"] == "false"
    assert kwok["manage-nodes-with-annotation-selector"] == "kwok.x-k8s.io/node=fake"


# --- processes -----------------------------------------------------------------------------------

Start = Callable[..., psutil.Process]


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start a program that lies, by its name, in a folder; it ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str = "", where: Path = folder, lab: str = "") -> psutil.Process:
        where.mkdir(parents=True, exist_ok=True)
        # It reads for as long as its input is open, so nothing outlives the tests.
        program = subprocess.Popen(
            [str(where / "etcd"), "-c", f"{script}\necho started; read line"],
            executable="/bin/sh",
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {identity.MARK: lab},
        )
        started.append(program)
        assert program.stdout is not None
        assert program.stdout.readline() == "started\n"
        return psutil.Process(program.pid)

    yield start
    for program in started:
        program.kill()
        program.communicate()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Politeness is given little time, but what is killed gets its own."""
    wait, shares = psutil.wait_procs, iter([0.02])
    monkeypatch.setattr(
        psutil, "wait_procs", lambda p, timeout: wait(p, timeout=timeout * next(shares, 1))
    )


def test_the_processes_of_a_cluster_are_those_whose_program_lies_in_its_folder(
    start: Start, folder: Path
) -> None:
    own = start()
    start(where=folder.with_name("dev2"))
    assert cluster_state.processes(folder) == [own]
    assert cluster_state.processes(Path(".run/dev")) == [own], "also by a relative path"


def test_those_of_a_checkout_that_was_moved_are_found_and_those_of_another_lab_are_not(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    own = start(where=Path.cwd() / ".run/dev/bin", lab=identity.of("dev"))
    monkeypatch.chdir((tmp_path / "here").rename(tmp_path / "there"))
    start(where=tmp_path / "here/.run/dev/bin", lab="0123456789ab")
    start(where=tmp_path / "here/.run/dev/bin")
    assert cluster_state.processes(Path(".run/dev")) == [own]


@pytest.mark.usefixtures("running")
def test_a_cluster_of_a_moved_checkout_says_what_to_run(
    made: dict[str, object], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its certificates are named by absolute paths."""
    there = folder.parent.parent.rename(folder.parent.parent.with_name("there"))
    monkeypatch.chdir(there)
    facts = identity.facts("dev")
    with pytest.raises(LabError, match=r"was moved.*make destroy STACK=dev, then: make up"):
        embedded.revive("dev", str(facts["cluster_id"]), "new")


def test_processes_are_stopped(start: Start) -> None:
    process = start()
    assert processes.stop([process]) == []
    assert not process.is_running()


@pytest.mark.usefixtures("impatient")
def test_a_process_that_does_not_want_to_end_is_killed(start: Start) -> None:
    process = start("trap '' TERM")
    assert processes.stop([process]) == []
    assert not process.is_running()


def test_a_process_that_has_just_ended_by_itself_is_no_error(start: Start) -> None:
    process = start()
    process.kill()
    process.wait()
    assert processes.stop([process]) == []


def test_a_process_that_ends_just_before_it_is_killed_is_no_error(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start()
    wait = psutil.wait_procs
    found_alive = iter([True])

    def ends_after(
        waited: list[psutil.Process], timeout: float
    ) -> tuple[list[psutil.Process], list[psutil.Process]]:
        gone, alive = wait(waited, timeout=timeout)
        return ([], waited) if next(found_alive, False) else (gone, alive)

    monkeypatch.setattr(psutil, "wait_procs", ends_after)
    assert processes.stop([process]) == []
    assert list(found_alive) == []


# --- removing ------------------------------------------------------------------------------------


@dataclass
class Kwokctl:
    """Stands for kwokctl: notes what it was asked, and `fails` at a verb, with words in a log."""

    asked: list[list[str]] = field(default_factory=list)
    fails: str = ""

    def __call__(self, arguments: list[str], folder: Path) -> subprocess.CompletedProcess[bytes]:
        self.asked.append(arguments)
        (folder / "kwok").mkdir(exist_ok=True)
        if arguments[0] == self.fails:
            (folder / "kwok" / "etcd.log").write_text("fine\nError: disk full\n")
            return subprocess.CompletedProcess(arguments, 1)
        if arguments[0] == "create":
            (folder / "kubeconfig").write_text(KUBECONFIG)
            certificates = embedded.pki(folder, folder.name)
            certificates.mkdir(parents=True, exist_ok=True)
            (certificates / "ca.crt").write_text("the authority")
        return subprocess.CompletedProcess(arguments, 0)

    @property
    def verbs(self) -> list[str]:
        return [arguments[0] for arguments in self.asked]


@pytest.fixture
def kwokctl(monkeypatch: pytest.MonkeyPatch) -> Kwokctl:
    fake = Kwokctl()
    monkeypatch.setattr(embedded, "_kwokctl", fake)
    return fake


def test_removing_what_is_not_there_is_no_error(kwokctl: Kwokctl) -> None:
    embedded.down("dev")
    assert kwokctl.verbs == []


def test_removing_ends_what_kwokctl_left_and_deletes_the_files(
    start: Start, folder: Path, kwokctl: Kwokctl
) -> None:
    process = start()
    (folder / "kwok").mkdir()
    embedded.down("dev")
    assert kwokctl.asked == [["delete", "cluster", "--name", "dev"]]
    assert not process.is_running()
    assert not folder.exists()


def test_processes_are_ended_even_when_their_files_are_gone(start: Start, folder: Path) -> None:
    process = start()
    folder.rmdir()
    embedded.down("dev")
    assert not process.is_running()


@pytest.mark.usefixtures("kwokctl")
def test_a_process_that_stays_is_named(
    start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start()
    monkeypatch.setattr(common, "stop", lambda running: running)
    with pytest.raises(LabError, match=rf"cluster dev do not end: {process.pid}$"):
        embedded.down("dev")
    assert folder.exists()


@pytest.mark.usefixtures("kwokctl")
def test_a_folder_that_stays_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(parents=True)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(LabError, match="dev cannot be removed; remove it by hand"):
        embedded.down("dev")


# --- making --------------------------------------------------------------------------------------


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> list[psutil.Process]:
    """What counts as the cluster's processes; a cluster becomes usable at once."""
    found: list[psutil.Process] = []
    monkeypatch.setattr(embedded, "processes", lambda _: found)
    monkeypatch.setattr(embedded, "stop", lambda _: [])
    monkeypatch.setattr(common, "stop", lambda _: [])
    monkeypatch.setattr(embedded, "_wait_until_usable", lambda *_: None)
    return found


@pytest.fixture
def made(kwokctl: Kwokctl, running: list[psutil.Process]) -> dict[str, object]:
    """The facts of a cluster that runs as WANTED says."""
    running += [psutil.Process()] * embedded.PROCESSES
    facts = embedded.create(WANTED)
    kwokctl.asked.clear()
    return facts


@pytest.mark.usefixtures("running")
def test_a_cluster_is_made_and_its_facts_are_kept(kwokctl: Kwokctl, folder: Path) -> None:
    facts = embedded.create(WANTED)
    assert kwokctl.verbs == ["create"]
    assert facts == json.loads((folder / "cluster.json").read_text())
    assert facts["kubeconfig"] == ".run/dev/kubeconfig"
    assert facts["server"] == "https://127.0.0.1:31999"
    assert facts["specification"] == asdict(WANTED)
    assert facts.keys() == mocks.embedded(asdict(WANTED)).keys()


@pytest.mark.usefixtures("running", "kwokctl")
def test_every_component_gets_a_port_of_its_own() -> None:
    ports = embedded.create(WANTED)["ports"]
    assert tuple(ports) == COMPONENTS
    assert len(set(ports.values())) == len(COMPONENTS)
    assert set(ports.values()) <= set(port_range.PORTS)


@pytest.mark.usefixtures("running", "kwokctl")
def test_a_port_that_is_taken_is_left_out() -> None:
    port = embedded.create(WANTED)["ports"]["etcd"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        assert port not in embedded.create(WANTED)["ports"].values()


@pytest.mark.usefixtures("running", "kwokctl")
def test_too_few_free_ports_say_where_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_range, "PORTS", range(31999, 31997, -1))
    with pytest.raises(LabError, match="fewer than 7 ports from 31998 to 31999 are free"):
        embedded.create(WANTED)


@pytest.mark.usefixtures("running", "kwokctl")
def test_as_many_free_ports_as_components_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    free = sorted(embedded.create(WANTED)["ports"].values(), reverse=True)
    monkeypatch.setattr(port_range, "PORTS", free)
    assert sorted(embedded.create(WANTED)["ports"].values(), reverse=True) == free


def test_nobody_waits_for_the_lease_of_a_killed_forerunner(told: Told) -> None:
    alone = {name for name, flags in told.items() if flags.get("leader-elect") == "false"}
    assert alone == {"kube-controller-manager", "kube-scheduler"}


@pytest.mark.usefixtures("running")
def test_kwokctl_is_told_gates_apis_and_ports(kwokctl: Kwokctl) -> None:
    ports = embedded.create(WANTED)["ports"]
    [arguments] = kwokctl.asked
    told = dict(pairwise(arguments))
    assert told["--kube-feature-gates"] == "DRAExtendedResource=true"
    assert told["--kube-runtime-config"] == "resource.k8s.io/v1=true"
    assert told["--kube-apiserver-port"] == str(ports["kube-apiserver"])
    assert arguments[-2:] == ["--config", ".run/dev/kwokctl.yaml"]


@pytest.mark.usefixtures("running")
def test_a_cluster_waits_for_its_ports_as_long_as_another_one_starts(
    kwokctl: Kwokctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "READY_SECONDS", 0)
    cache.folder().mkdir(parents=True)
    with ThreadPoolExecutor() as second:
        with filelock.FileLock(cache.folder() / "ports.lock"):
            waiting = second.submit(embedded.create, WANTED)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.3)
            assert kwokctl.verbs == []
        assert waiting.result(timeout=60)["name"] == "dev"
    assert kwokctl.verbs == ["create"]


def test_what_is_there_is_never_kept_when_a_cluster_is_to_be_made(
    made: dict[str, object], kwokctl: Kwokctl, folder: Path
) -> None:
    (folder / "data").touch()
    facts = embedded.create(WANTED)
    assert kwokctl.verbs == ["delete", "create"]
    assert facts["cluster_id"] != made["cluster_id"]
    assert not (folder / "data").exists()


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("facts", [None, "{", ""], ids=["no facts", "half written", "empty"])
def test_a_half_made_cluster_is_removed_first(
    facts: str | None, kwokctl: Kwokctl, folder: Path
) -> None:
    (folder / "kwok").mkdir(parents=True)
    (folder / "data").touch()
    if facts is not None:
        (folder / "cluster.json").write_text(facts)
    embedded.create(WANTED)
    assert kwokctl.verbs == ["delete", "create"]
    assert not (folder / "data").exists()


@pytest.mark.usefixtures("running")
def test_a_cluster_that_does_not_start_says_why_and_leaves_nothing(
    kwokctl: Kwokctl, folder: Path
) -> None:
    kwokctl.fails = "create"
    with pytest.raises(LabError) as failure:
        embedded.create(WANTED)
    assert str(failure.value) == (
        "the control plane of dev did not start\n  etcd.log: Error: disk full\n"
        "  all logs: .results/dev/failed-start/"
    )
    assert "Error: disk full" in Path(".results/dev/failed-start/etcd.log").read_text()
    assert kwokctl.verbs == ["create", "delete"]
    assert not folder.exists()


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("error", [LabError("not usable"), KeyboardInterrupt()])
def test_a_cluster_that_did_not_get_ready_leaves_nothing(
    error: BaseException, kwokctl: Kwokctl, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(*_: object) -> None:
        raise error

    monkeypatch.setattr(embedded, "_wait_until_usable", wait)
    with pytest.raises(type(error)):
        embedded.create(WANTED)
    assert kwokctl.verbs == ["create", "delete"]
    assert not folder.exists()


@pytest.mark.usefixtures("running")
def test_where_no_folder_can_be_made_the_cause_is_told_and_what_is_there_removed(
    kwokctl: Kwokctl, folder: Path, monkeypatch: Patch
) -> None:
    removed: list[str] = []
    monkeypatch.setattr(embedded, "down", removed.append)
    folder.parent.write_text("no folder")
    with pytest.raises(FileExistsError, match=r"\.run"):
        embedded.create(WANTED)
    assert removed == ["dev", "dev"], "before, and again after the failure"
    assert kwokctl.verbs == []


@pytest.mark.usefixtures("running")
def test_what_cannot_be_removed_after_a_failure_does_not_hide_it(
    kwokctl: Kwokctl, monkeypatch: Patch
) -> None:
    kwokctl.fails = "create"
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(LabError) as failure:
        embedded.create(WANTED)
    assert str(failure.value).startswith("the control plane of dev did not start\n")
    assert "could be removed: .run/dev cannot be removed" in str(failure.value)


@pytest.mark.usefixtures("running", "kwokctl")
def test_the_folder_is_its_owners_only_also_one_that_was_open_to_all(folder: Path) -> None:
    folder.mkdir(parents=True)
    for path in (folder, folder.parent):
        path.chmod(0o755)
    embedded.create(WANTED)
    assert [path.stat().st_mode & 0o777 for path in (folder, folder.parent)] == [0o700, 0o700]


@pytest.mark.usefixtures("running")
def test_kwokctl_finds_its_place_and_writes_for_nobody_else(
    folder: Path, monkeypatch: Patch
) -> None:
    lab = folder.parent.parent / "a lab"
    for path in (lab / ".run" / "dev", lab / ".tools" / "bin"):
        path.mkdir(parents=True)
    monkeypatch.chdir(lab)
    monkeypatch.setenv("KWOK_WORKDIR", "/somewhere/else")
    program = lab / ".tools" / "bin" / "kwokctl"
    program.write_text(
        '#!/bin/sh\nenv | grep KWOK_WORKDIR\nmkdir "$HOME/.kwok/made" && umask\n'
        f"echo '{KUBECONFIG}' > .run/dev/kubeconfig\n"
        'mkdir -p "$HOME/.kwok/clusters/dev/pki" && touch "$HOME/.kwok/clusters/dev/pki/ca.crt"\n'
    )
    program.chmod(0o755)
    embedded.create(WANTED)
    assert Path(".run/dev/log").read_text() == "0077\n"
    assert Path(".run/dev/kwok/made").is_dir()


# --- starting again ------------------------------------------------------------------------------


@pytest.fixture
def dead(made: dict[str, object], running: list[psutil.Process], folder: Path) -> dict[str, object]:
    """A whole cluster with its data, one of whose processes ended."""
    kept = folder / "kwok" / "clusters" / "dev"
    (kept / "etcd").mkdir()
    (kept / "kwok.yaml").touch()
    (kept / "kubeconfig.yaml").write_text(KUBECONFIG)
    running.pop()
    return made


def revive(facts: dict[str, object]) -> None:
    embedded.revive("dev", str(facts["cluster_id"]), "second")


def test_nobody_chooses_ports_until_a_cluster_that_was_begun_listens_on_its_own(
    dead: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    locked: list[bool] = []

    def wait(*_: object) -> None:
        try:
            with filelock.FileLock(cache.folder() / "ports.lock", timeout=0):
                locked.append(False)
        except filelock.Timeout:
            locked.append(True)

    monkeypatch.setattr(embedded, "_wait_until_usable", wait)
    revive(dead)
    embedded.create(WANTED)
    assert locked == [True, True]


def test_a_cluster_whose_processes_ended_is_started_again(
    dead: dict[str, object], kwokctl: Kwokctl, folder: Path
) -> None:
    revive(dead)
    assert kwokctl.asked == [["start", "cluster", "--name", "dev"]]
    assert (folder / "start_id").read_text() == "second"


def test_a_cluster_that_runs_only_enters_its_next_life(
    dead: dict[str, object], kwokctl: Kwokctl, running: list[psutil.Process], folder: Path
) -> None:
    running += [psutil.Process()]
    revive(dead)
    assert kwokctl.verbs == []
    assert (folder / "start_id").read_text() == "second"


@pytest.mark.usefixtures("kwokctl")
def test_a_webhook_that_knows_other_gates_is_ended_and_started_with_the_new_ones(
    dead: dict[str, object], running: list[psutil.Process], folder: Path, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(embedded, "stop", processes.stop)
    program = folder / webhook.COMPONENT
    program.symlink_to("/bin/sleep")
    started = subprocess.Popen([program, "60"])
    running.append(psutil.Process(started.pid))
    cluster_id = str(dead["cluster_id"])
    embedded.revive("dev", cluster_id, "second", webhook.DEFAULT_GATES)
    assert started.poll() is None
    embedded.revive("dev", cluster_id, "third", "TimeSlicingSettings=true")
    assert not psutil.pid_exists(started.pid)
    assert webhook.gates(folder) == "TimeSlicingSettings=true"


@pytest.mark.usefixtures("kwokctl")
def test_a_kubeconfig_that_got_lost_is_given_back(dead: dict[str, object], folder: Path) -> None:
    (folder / "kubeconfig").unlink()
    revive(dead)
    assert (folder / "kubeconfig").read_text() == KUBECONFIG


@pytest.mark.parametrize(
    "lost", ["cluster.json", "kwok", "kwok/clusters/dev/etcd", "kwok/clusters/dev/pki"]
)
def test_a_cluster_that_lost_files_says_what_to_run(
    lost: str, dead: dict[str, object], kwokctl: Kwokctl, folder: Path
) -> None:
    path = folder / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(LabError, match=r"are gone.*: make destroy STACK=dev, then: make up"):
        revive(dead)
    assert kwokctl.verbs == []


def test_another_cluster_of_the_same_name_is_not_taken_for_the_one_that_is_gone(
    dead: dict[str, object],
) -> None:
    with pytest.raises(LabError, match="the files of cluster dev are gone"):
        revive(dead | {"cluster_id": "another"})


def test_a_port_that_another_program_took_is_named_with_its_holder(
    dead: dict[str, object], kwokctl: Kwokctl, folder: Path, monkeypatch: Patch
) -> None:
    port = json.loads((folder / "cluster.json").read_text())["ports"]["etcd"]
    own = psutil.Process()
    monkeypatch.setattr(embedded, "processes", lambda _: [])
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        with pytest.raises(LabError) as refusal:
            revive(dead)
    assert f"port {port} of etcd of cluster dev is taken by {own.name()}" in str(refusal.value)
    assert f"(process {own.pid}); end it, or" in str(refusal.value)
    assert kwokctl.verbs == []


def test_a_port_of_a_stranger_is_told_too(
    dead: dict[str, object], folder: Path, monkeypatch: Patch
) -> None:
    port = json.loads((folder / "cluster.json").read_text())["ports"]["etcd"]
    monkeypatch.setattr(port_range, "listeners", lambda: [(port, None)])
    with pytest.raises(LabError, match="is taken by a program of another user"):
        revive(dead)


@pytest.mark.usefixtures("kwokctl")
def test_records_of_processes_that_ended_do_not_hinder_starting_again(
    dead: dict[str, object], running: list[psutil.Process], folder: Path
) -> None:
    records = folder / "kwok" / "clusters" / "dev" / "pids"
    records.mkdir(parents=True)
    (records / "etcd.pid").write_text(f"{running[0].pid}\n")
    (records / "kube-apiserver.pid").write_text("1\n")
    (records / "kwok-controller.pid").touch()  # as a full disk or a kill leaves it
    revive(dead)
    assert [record.name for record in records.iterdir()] == ["etcd.pid"]


def test_a_cluster_that_does_not_start_again_says_why_and_keeps_its_data(
    dead: dict[str, object], kwokctl: Kwokctl, folder: Path
) -> None:
    kwokctl.fails = "start"
    with pytest.raises(LabError, match=r"again\n  etcd\.log: Error: disk full\n.*make logs"):
        revive(dead)
    assert (folder / "cluster.json").exists()
    assert not (folder / "start_id").exists()
