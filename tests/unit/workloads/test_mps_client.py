"""Whether a process is a client of MPS is what the driver says, and what CUDA connected to."""

from __future__ import annotations

import os
import socket

import pytest

from workloads import mps_client


@pytest.mark.parametrize(
    ("driver_says", "connections", "client", "proof"),
    [
        (True, 2, True, "CU_DEVICE_ATTRIBUTE_MPS_ENABLED is 1; CUDA opened 2 Unix sockets"),
        (False, 0, False, "CU_DEVICE_ATTRIBUTE_MPS_ENABLED is 0; CUDA opened no Unix sockets"),
        (False, 1, False, "CU_DEVICE_ATTRIBUTE_MPS_ENABLED is 0; CUDA opened 1 Unix socket"),
        (None, 2, True, "CUDA opened 2 Unix sockets; this driver does not know"),
        (None, 0, False, "CUDA opened no Unix sockets; this driver does not know"),
    ],
)
def test_the_driver_decides_and_else_the_connections(
    driver_says: bool | None, connections: int, client: bool, proof: str
) -> None:
    found = mps_client.describe(driver_says, [{}] * connections, {})
    assert found["client"] is client
    assert found["proof"].startswith(proof)


def test_a_pipe_directory_alone_proves_nothing() -> None:
    found = mps_client.describe(False, [], {"CUDA_MPS_PIPE_DIRECTORY": "/mps"})
    assert (found["client"], found["pipe_directory"], found["pipe_directory_set"]) == (
        False,
        "/mps",
        True,
    )
    assert mps_client.describe(True, [], {})["pipe_directory"] == "/tmp/nvidia-mps"


def test_a_connection_is_found_by_the_other_ends_name_and_process() -> None:
    before = mps_client.connections()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind("")  # an abstract name of the kernel's choice, as the MPS server has
        server.listen()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(server.getsockname())
            inode = os.readlink(f"/proc/self/fd/{client.fileno()}")  # noqa: PTH115
            found = mps_client.opened_since(before)
            name = "@" + server.getsockname()[1:].decode()
    assert found == [{"peer": name, "peer_pid": os.getpid(), "socket": inode}]
    assert mps_client.opened_since(before) == []


def test_only_the_variables_that_matter_are_told() -> None:
    environment = {"CUDA_MPS_B": "2", "PATH": "/bin", "CUDA_VISIBLE_DEVICES": "0"}
    assert mps_client.select_variables(environment) == {
        "CUDA_MPS_B": "2",
        "CUDA_VISIBLE_DEVICES": "0",
    }
