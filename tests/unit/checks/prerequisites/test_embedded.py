"""Module 0 says what this machine lacks, before anything is made, and how to get it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from checks.prerequisites import embedded
from tests.unit.fake_kube import findings
from toolchain import bootstrap
from toolchain.tools import KUBERNETES_VERSION

Install = Callable[..., None]
CHART = "charts/driver"
PARAMETERS = {
    "stack": "lab",
    "kubernetesVersion": "1.37.2",
    "driverChart": CHART,
    "featureGates": ["DRAAdminAccess=true"],
    "runtimeConfig": ["resource.k8s.io/v1beta2=true"],
}
CONTROL_PLANE = embedded.GATES_ASKED
PROGRAM = """\
#!/bin/sh
case "$1" in
--version) echo '{version}' ;;
--feature-gates=NoSuch=*) echo '"command failed" err="unrecognized feature gate: NoSuch"' >&2 ;;
--feature-gates=Old=false) echo 'err="cannot set feature gate Old to false, it is locked"' >&2 ;;
--runtime-config=no.such/*) echo 'err="[no etcd, unknown api groups no.such/v1, no key]"' >&2 ;;
*) echo 'err="--etcd-servers must be specified"' >&2 ;;
esac
exit {code}
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a program that answers with `version` into the tools, or one with other content."""
    monkeypatch.setattr(embedded, "BIN", tmp_path)

    def put(
        name: str, version: str, content: str = PROGRAM, mode: int = 0o755, code: int = 0
    ) -> None:
        path = tmp_path / name
        path.write_text(content.format(version=version, code=code))
        path.chmod(mode)

    return put


@pytest.fixture
def machine(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has all that is needed; the folder of its tools."""
    for name in CONTROL_PLANE:
        install(name, "Kubernetes v1.37.2")
    install("etcd", "etcd Version: 3.6.14, Go Version: go1.25.1")
    install("kwok", "kwok version v0.8.0 go1.25.1")
    install("kwokctl", "kwokctl version v0.8.0 go1.25.1")
    chart = tmp_path / CHART
    chart.mkdir(parents=True)
    (chart / "Chart.yaml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("checks.prerequisites.embedded.platform.system", lambda: "Linux")
    monkeypatch.setattr("checks.prerequisites.embedded.platform.machine", lambda: "x86_64")
    has_disk(monkeypatch, 20)
    has_memory(monkeypatch, 8)
    return tmp_path


def has_disk(monkeypatch: pytest.MonkeyPatch, gigabytes: float) -> None:
    usage = SimpleNamespace(free=gigabytes * 1e9)
    monkeypatch.setattr("checks.prerequisites.embedded.shutil.disk_usage", lambda _: usage)


def has_memory(monkeypatch: pytest.MonkeyPatch, gigabytes: float) -> None:
    memory = SimpleNamespace(available=gigabytes * 1e9)
    monkeypatch.setattr("checks.prerequisites.embedded.psutil.virtual_memory", lambda: memory)


def run(**changed: Any) -> dict[str, Any]:
    return embedded.run("0", PARAMETERS | changed)


def failed(identity: str, **changed: Any) -> dict[str, Any]:
    """Run it; the finding, which failed."""
    result = run(**changed)
    finding = findings(result)[identity]
    assert (result["status"], finding["status"]) == ("failed", "failed")
    return finding


def test_a_machine_with_everything_passes_and_says_what_it_has(machine: Path) -> None:
    result = run()
    assert (result["module"], result["status"]) == ("0", "passed")
    assert {identity: f["found"] for identity, f in findings(result).items()} == {
        "platform": "Linux x86_64",
        "checkout-path": "none",
        "tool-kube-apiserver": "1.37.2",
        "tool-kube-controller-manager": "1.37.2",
        "tool-kube-scheduler": "1.37.2",
        "tool-etcd": "3.6.14",
        "tool-kwok": "0.8.0",
        "tool-kwokctl": "0.8.0",
        "driver-chart": CHART,
        "feature-gates": "DRAAdminAccess=true",
        "runtime-config": "resource.k8s.io/v1beta2=true",
        "disk": "20.0 GB free",
        "memory": "8.0 GB available",
    }


@pytest.mark.parametrize("odd", ["50%", "a,b", "a#b", "a:b", 'a"b', "a$b", "a\\b"])
def test_a_path_in_which_the_tools_cannot_work_is_refused(
    odd: str, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = machine / odd / "lab"
    lab.parent.mkdir()
    shutil.copytree(machine, lab, ignore=shutil.ignore_patterns(odd))
    monkeypatch.chdir(lab)
    finding = failed("checkout-path")
    letter = next(letter for letter in odd if letter in bootstrap.REFUSED)
    assert finding["found"] == f"{letter} in {lab}"
    assert "move the checkout" in finding["remedy"]


def test_gates_and_apis_may_be_left_at_their_defaults(machine: Path) -> None:
    found = findings(run(featureGates=[], runtimeConfig=[]))
    assert found["feature-gates"]["found"] == "none asked for"
    assert found["runtime-config"]["found"] == "none asked for"


def test_another_version_of_kubernetes_than_asked_for_fails(machine: Path) -> None:
    finding = failed("tool-kube-scheduler", kubernetesVersion="1.35.0", featureGates=[])
    assert (finding["expected"], finding["found"]) == ("version 1.35.0", "version 1.37.2")
    assert finding["remedy"] == (
        f"run: make setup; the embedded cluster has Kubernetes {KUBERNETES_VERSION} only"
    )


def test_an_old_tool_fails_with_the_version_that_it_has(machine: Path, install: Install) -> None:
    install("etcd", "etcd Version: 3.5.21")
    finding = failed("tool-etcd")
    assert (finding["expected"], finding["found"]) == ("version 3.6", "version 3.5.21")
    assert finding["remedy"] == "run: make setup"


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("etcd Version: 3.60.1", "version 3.60.1"),
        ("etcd Version: 13.6.1", "version 13.6.1"),
        ("etcd Version: 3.6.0", "3.6.0"),
    ],
)
def test_versions_are_compared_part_by_part(
    machine: Path, install: Install, said: str, found: str
) -> None:
    install("etcd", said)
    finding = findings(run())["tool-etcd"]
    status = "failed" if found.startswith("version") else "passed"
    assert (finding["status"], finding["found"]) == (status, found)


def test_a_patch_version_that_only_begins_alike_is_another(machine: Path) -> None:
    finding = failed("tool-kube-scheduler", kubernetesVersion="1.37.20")
    assert finding["found"] == "version 1.37.2"
    for name in CONTROL_PLANE:
        finding = failed(f"tool-{name}", kubernetesVersion="1.3")
        assert finding["found"] == "version 1.37.2"


@pytest.mark.parametrize("name", ["kwok", "kwokctl", "etcd"])
def test_a_tool_that_is_missing_is_named(machine: Path, name: str) -> None:
    (machine / name).unlink()
    finding = failed(f"tool-{name}")
    assert finding["found"] == f"{machine / name} cannot be run: No such file or directory"
    assert finding["remedy"] == "run: make setup"


def test_a_tool_that_is_no_program_is_named(machine: Path, install: Install) -> None:
    install("kwok", "0.8.0", mode=0o644)
    assert failed("tool-kwok")["found"] == f"{machine}/kwok cannot be run: Permission denied"


@pytest.mark.parametrize(("version", "code"), [("kwok v0.8.0", 1), ("no version at all", 0)])
def test_a_tool_that_does_not_tell_its_version_fails(
    machine: Path, install: Install, version: str, code: int
) -> None:
    install("kwok", version, code=code)
    assert failed("tool-kwok")["found"] == f"{machine}/kwok --version ended with {code}"


@pytest.mark.parametrize("name", CONTROL_PLANE)
def test_a_missing_control_plane_program_is_not_asked_for_its_gates(
    machine: Path, name: str
) -> None:
    (machine / name).unlink()
    found = findings(run())
    for identity in ("feature-gates", "runtime-config"):
        finding = found[identity]
        assert (finding["status"], finding["found"]) == ("skipped", f"needs tool-{name}")


def test_a_missing_tool_that_has_no_gates_keeps_nobody_from_asking(machine: Path) -> None:
    (machine / "kwok").unlink()
    found = findings(run())
    assert found["feature-gates"]["status"] == found["runtime-config"]["status"] == "passed"


def test_a_program_that_does_not_answer_in_time_is_named(
    machine: Path, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = subprocess.run

    def run_briefly(command: list[str], *, timeout: float, **options: Any) -> Any:
        seconds = timeout if "--version" in command else timeout / 100
        return real(command, timeout=seconds, **options)

    monkeypatch.setattr(subprocess, "run", run_briefly)
    starting = PROGRAM.replace("*) echo", "*) exec sleep 60; echo")
    install("kube-apiserver", "Kubernetes v1.37.2", starting)
    said = "kube-apiserver does not answer within 20 s"
    assert failed("feature-gates")["found"] == said
    assert failed("runtime-config")["found"] == said


def test_a_program_that_is_asked_does_not_see_the_cluster_that_it_runs_in(
    machine: Path, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_PORT", "tcp://10.0.0.1:443")
    monkeypatch.setenv("OTHERS", "stay")
    telling = PROGRAM.replace("*) echo", "*) env > asked; echo")
    install("kube-apiserver", "Kubernetes v1.37.2", telling)
    run()
    names = {line.partition("=")[0] for line in Path("asked").read_text().splitlines()}
    assert "OTHERS" in names
    assert not [name for name in names if name.startswith("KUBERNETES_")]


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ("NoSuch=true", "unrecognized feature gate: NoSuch"),
        ("Old=false", "cannot set feature gate Old to false, it is locked"),
    ],
)
def test_a_gate_that_kubernetes_refuses_fails_with_its_words(
    machine: Path, gate: str, said: str
) -> None:
    finding = failed("feature-gates", featureGates=["DRAAdminAccess=true", gate])
    assert finding["found"] == f"kube-apiserver: {said}"
    assert finding["remedy"].startswith("correct featureGates")


def test_a_gate_that_the_scheduler_alone_refuses_fails_too(machine: Path, install: Install) -> None:
    refusing = PROGRAM.replace("=NoSuch=", "=DRAAdminAccess=")
    install("kube-scheduler", "Kubernetes v1.37.2", refusing)
    assert failed("feature-gates")["found"].startswith("kube-scheduler: unrecognized feature gate")


def test_an_api_group_that_does_not_exist_fails_with_its_name(machine: Path) -> None:
    finding = failed("runtime-config", runtimeConfig=["no.such/v1=true"])
    assert finding["found"] == "kube-apiserver: unknown api groups no.such/v1"
    assert finding["remedy"].startswith("correct runtimeConfig")


def test_a_folder_that_is_no_chart_fails(machine: Path) -> None:
    (machine / CHART / "Chart.yaml").unlink()
    finding = failed("driver-chart")
    assert finding["found"] == f"{CHART} holds no Chart.yaml"
    assert "make setup" in finding["remedy"]


def test_a_packed_chart_must_be_there(machine: Path) -> None:
    assert failed("driver-chart", driverChart="driver.tgz")["found"] == "there is no driver.tgz"
    Path("driver.tgz").mkdir()
    assert failed("driver-chart", driverChart="driver.tgz")["found"] == "there is no driver.tgz"
    Path("driver.tgz").rmdir()
    Path("driver.tgz").touch()
    finding = findings(run(driverChart="driver.tgz"))["driver-chart"]
    assert (finding["status"], finding["found"]) == ("passed", "driver.tgz")


def test_a_chart_of_a_registry_is_left_to_its_installation(machine: Path) -> None:
    finding = findings(run(driverChart="oci://registry/chart"))["driver-chart"]
    assert finding["status"] == "passed"
    assert finding["found"] == "oci://registry/chart (fetched when it is installed)"


def test_too_little_disk_fails(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has_disk(monkeypatch, 0.2)
    finding = failed("disk")
    assert finding["expected"] == "0.3 GB in .run, 0.02 GB in .state, 0.02 GB in .results"
    assert finding["found"] == "0.20 GB free in .run"
    assert finding["remedy"].startswith("free some room")


def test_a_full_disk_is_told_as_everywhere(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has_disk(monkeypatch, 0)
    assert failed("disk")["found"].startswith("the disk of .run is full; free some room")


def test_a_lab_that_is_there_needs_no_room_to_be_made(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_disk(monkeypatch, 0.2)
    (machine / ".run" / "lab").mkdir(parents=True)
    (machine / ".run" / "lab" / "cluster.json").touch()
    disk = findings(run())["disk"]
    assert (disk["status"], disk["found"]) == ("passed", "0.2 GB free")
    assert findings(run(stack="other"))["disk"]["status"] == "failed"


def test_too_little_memory_only_warns(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has_memory(monkeypatch, 0.7)
    result = run()
    finding = findings(result)["memory"]
    assert (result["status"], finding["status"]) == ("passed", "warning")
    assert (finding["expected"], finding["found"]) == ("1.5 GB available", "0.7 GB available")
    assert finding["remedy"] == "end some other programs first"


def test_an_untested_platform_only_warns(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("checks.prerequisites.embedded.platform.machine", lambda: "aarch64")
    result = run()
    finding = findings(result)["platform"]
    assert (result["status"], finding["status"]) == ("passed", "warning")
    assert (finding["expected"], finding["found"]) == ("Linux x86_64", "Linux aarch64")


def test_alone_it_asks_for_what_set_up_lays_in() -> None:
    defaults = embedded.defaults()
    assert set(defaults) == set(PARAMETERS)
    assert defaults["kubernetesVersion"] == KUBERNETES_VERSION
    assert defaults["driverChart"].startswith(".tools/charts/")
