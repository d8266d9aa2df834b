"""A pod holds until it is released by its annotation, and ends at once on SIGTERM."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workloads import hold

RELEASE = 'dra-workshop/release="true"\n'
OTHERS = 'kubernetes.io/config.source="api"\ndra-workshop/released-by="nobody"\n'
Start = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def podinfo(tmp_path: Path) -> Path:
    path = tmp_path / "annotations"
    path.write_text(OTHERS)
    return path


@pytest.fixture
def start(podinfo: Path) -> Iterator[Start]:
    """Starts the program as the pod does; returns when it holds."""
    started: list[subprocess.Popen[str]] = []

    def run() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(Path(hold.__file__))],
            env=os.environ | {"DRA_WORKSHOP_ANNOTATIONS": str(podinfo)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "holding\n"
        return process

    yield run
    for process in started:
        with process:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[str, int]:
    """What else the program said, and its exit code."""
    code = process.wait(timeout=10)
    assert process.stdout is not None
    return process.stdout.read(), code


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", False),
        (OTHERS, False),
        (RELEASE, True),
        (OTHERS + RELEASE, True),
        ('note="say dra-workshop/release=true to let it go"\n', False),
        ('note="first\\ndra-workshop/release=true"\n', False),
    ],
)
def test_only_the_annotation_itself_lets_go(podinfo: Path, content: str, expected: bool) -> None:
    podinfo.write_text(content)
    assert hold.released(podinfo) is expected


def test_a_pod_that_is_let_go_already_ends_well(podinfo: Path, start: Start) -> None:
    podinfo.write_text(RELEASE)
    assert ended(start()) == ("released\n", 0)


def test_a_pod_that_is_let_go_while_it_holds_ends_well(podinfo: Path, start: Start) -> None:
    process = start()
    podinfo.write_text(OTHERS + RELEASE)
    assert ended(process) == ("released\n", 0)


def test_a_pod_that_is_deleted_ends_at_once_and_says_so(start: Start) -> None:
    process = start()
    process.terminate()
    assert ended(process) == ("", 143)
