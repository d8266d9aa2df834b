"""What a client on which faults are tried says of its GPU, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.unit.fake_gpu import MOCKED, NO_DEVICE, UUID, Cuda
from workloads import cuda_driver, fault_client

ILLEGAL = 700
Run = Callable[..., tuple[int, list[dict[str, Any]]]]


class EndedError(Exception):
    """The test has seen enough."""


@pytest.fixture(autouse=True)
def _sigterm() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs it on that GPU until it ends, or has said the event `enough`; returns its exit code and
    what it said."""
    say = fault_client.say

    def started(cuda: Cuda, *arguments: str, enough: str = "working") -> Any:
        def said(event: str, *given: Any, **more: Any) -> None:
            say(event, *given, **more)
            if event == enough:
                raise EndedError

        monkeypatch.setattr(fault_client, "say", said)
        monkeypatch.setattr(cuda_driver, "load_library", lambda: cuda)
        try:
            code = fault_client.main([*arguments])
        except EndedError:
            code = -1
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return started


def test_it_says_what_it_got_and_that_it_works(run: Run) -> None:
    code, said = run(Cuda(sm_count=4, mps=1), "--allocate", "16", "32")
    assert code == -1
    assert [each["event"] for each in said] == ["began", "ready", *["allocated"] * 2, "working"]
    assert (said[1]["uuid"], said[1]["mps"], said[1]["sm_count"]) == (UUID, True, 4)
    assert [each["total_mib"] for each in said if "mib" in each] == [16, 48]
    assert said[-1]["rounds"] == 1


def test_memory_that_is_refused_ends_it(run: Run) -> None:
    code, said = run(Cuda(), "--allocate", "64", "64")
    assert code == fault_client.GPU_FAILED
    assert said[-1]["name"] == "CUDA_ERROR_OUT_OF_MEMORY"
    assert said[-2]["total_mib"] == 64


def test_it_crashes_after_it_said_so(run: Run) -> None:
    """Its kernel writes to address 0; the stand-in has no memory there, as no GPU has."""
    cuda = Cuda()
    cuda.before = lambda name: cuda.fail.update(
        {"cuCtxSynchronize": ILLEGAL} if name == "cuLaunchKernel" else {}
    )
    cuda.ran_tick = lambda *_: None  # type: ignore[method-assign]
    code, said = run(cuda, "--crash")
    assert code == fault_client.GPU_FAILED
    assert [each["event"] for each in said] == ["began", "ready", "crashing", "error"]
    assert said[-1]["name"] == f"error {ILLEGAL}"


def test_it_holds_a_mocked_gpu_and_computes_nothing(run: Run) -> None:
    cuda = Cuda(error_text=MOCKED, fail={"cuInit": NO_DEVICE})
    code, said = run(cuda, enough="holding")
    assert (code, [each["event"] for each in said]) == (-1, ["began", "holding"])


def test_several_processes_end_as_the_first_does() -> None:
    """Here there is no CUDA: each says so by itself."""
    done = subprocess.run(
        [sys.executable, fault_client.__file__, "--processes", "2"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == fault_client.GPU_FAILED, done.stderr
    assert "no CUDA driver" in {each["name"] for each in said if each["event"] == "error"}
