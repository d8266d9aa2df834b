"""A disk that is full, or becomes full: said as such, nothing lost, and it goes on when there is
room again. Small file systems in memory stand for the disks; mounting them takes root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import tenacity

from tests.checkout import Checkout
from tests.faults.lab import STACK, kill_all, require_clean_destroy, require_passed, results, up

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")

Disk = Callable[..., None]


@pytest.fixture
def disk(checkout: Checkout) -> Iterator[Disk]:
    """Puts folders of the checkout on a file system of a size, or changes its size."""
    with ExitStack() as mounted:

        def have(size: str, *folders: str) -> None:
            root = checkout.folder / "disk"
            if root.is_mount():
                run("mount", "-o", f"remount,size={size}", str(root))
                return
            root.mkdir()
            run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(root))
            mounted.callback(run, "umount", str(root))
            for folder in folders:
                path = checkout.folder / folder
                path.mkdir(exist_ok=True)
                run("cp", "-r", str(path), str(root))
                run("mount", "--bind", str(root / folder), str(path))
                mounted.callback(run, "umount", str(path))

        yield have


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def fill(checkout: Checkout, left: int = 0) -> Path:
    """Take all the room on the disk but so many bytes."""
    ballast = checkout.folder / "disk" / "ballast"
    file = os.open(ballast, os.O_CREAT | os.O_WRONLY)
    for attempt in tenacity.Retrying(  # the cluster writes meanwhile
        retry=tenacity.retry_if_exception_type(OSError), stop=tenacity.stop_after_attempt(10)
    ):
        with attempt:
            os.posix_fallocate(file, 0, shutil.disk_usage(checkout.folder / "disk").free - left)
    os.close(file)
    return ballast


def test_a_disk_too_small_for_a_cluster_is_refused_before_it_is_made(
    checkout: Checkout, disk: Disk
) -> None:
    checkout.stack(STACK)
    disk("60m", ".run")
    refused = up(checkout)
    assert refused.code != 0
    assert "GB free in .run" in refused.text
    assert "Traceback" not in refused.text
    assert list((checkout.folder / ".run").iterdir()) == []
    disk("600m")
    require_passed(checkout)
    require_clean_destroy(checkout)


def test_a_disk_that_fills_up_under_a_cluster(checkout: Checkout, disk: Disk) -> None:
    checkout.stack(STACK)
    disk("600m", ".run")
    require_passed(checkout)
    kept = results(checkout)
    ballast = fill(checkout)
    kill_all(checkout)
    for full in (up(checkout), checkout.up(STACK)):
        assert full.code != 0
        assert "is full" in full.text
        assert "Traceback" not in full.text
    assert results(checkout).items() >= kept.items(), "no result that was saved is lost"
    ballast.unlink()
    require_passed(checkout)
    require_clean_destroy(checkout)


def test_a_lab_on_a_full_disk_can_be_removed(checkout: Checkout, disk: Disk) -> None:
    checkout.stack(STACK)
    disk("600m", ".run", ".state")
    require_passed(checkout)
    fill(checkout)
    require_clean_destroy(checkout)


def test_without_room_for_the_state_nothing_is_begun(checkout: Checkout, disk: Disk) -> None:
    checkout.stack(STACK)
    disk("40m", ".state")
    fill(checkout)
    full = up(checkout)
    assert full.code != 0
    assert full.text == (
        "error: the disk of .state is full; free some room and run the same command again\n"
    )


@pytest.mark.parametrize("left", [8_000, 40_000])
def test_a_disk_that_fills_up_under_the_state(checkout: Checkout, disk: Disk, left: int) -> None:
    """Plain Pulumi here, which begins all the same. It leaves half a state file."""
    checkout.stack(STACK)
    disk("40m", ".state")
    ballast = fill(checkout, left)
    full = checkout.up(STACK)
    assert full.code != 0
    assert "Traceback" not in full.text
    ballast.unlink()
    require_passed(checkout)
    require_clean_destroy(checkout)


def test_a_disk_that_fills_up_under_the_state_of_a_lab(checkout: Checkout, disk: Disk) -> None:
    checkout.stack(STACK)
    disk("40m", ".state")
    require_passed(checkout)
    kept = results(checkout)
    ballast = fill(checkout, left=150_000)
    full = checkout.up(STACK, DRA_WORKSHOP_VERIFY="1")
    assert full.code != 0
    assert results(checkout).items() >= kept.items(), "no result that was saved is lost"
    ballast.unlink()
    require_passed(checkout)
    require_clean_destroy(checkout)
