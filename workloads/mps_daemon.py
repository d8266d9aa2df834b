"""MPS's control daemon in a pod of its own, for pods that share a GPU by an ordinary claim.

    reserve   keeps the GPU in compute mode Exclusive_Process, and the pipe directory for one user
    serve     runs NVIDIA's control daemon as that user, with the limits of every client
    probe     exit code 0 as soon as what the other argument names (reserve, serve) is done

Each is a container of the pod. What sets the compute mode has to be root with CAP_SYS_ADMIN, so
the daemon itself need not. Only its user gets into the pipe directory: another one's client would
wait for ever in cuInit, without a word; like this CUDA finds no daemon, and the compute mode
refuses it. When the pod has the annotation dra-workshop/release the daemon ends and the GPU is
everybody's again, but the pod stays: nothing of it has to be changed to give the GPU to others.
It takes the control daemon and nvidia-smi that the claim brings, and no package.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__:
    from workloads import hold
else:  # in a pod, where the files lie side by side
    import hold

CONTROL = "nvidia-cuda-mps-control"
GPU = "MPS_GPU"
PIPE_DIRECTORY = "CUDA_MPS_PIPE_DIRECTORY"
ONLY_ITS_USER = 0o700
QUIT_SECONDS = 10
RESERVED, FREE = "EXCLUSIVE_PROCESS", "DEFAULT"
RESERVED_MODE = "Exclusive_Process"
"""As nvidia-smi prints what it takes as RESERVED."""


class DaemonError(Exception):
    """The daemon, or nvidia-smi, refused something; the text has its own words."""


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    ended = hold.ended_by_signal()
    try:
        if options.role == "probe":
            probe(options)
        elif options.role == "reserve":
            reserve(options, ended)
        else:
            serve(options, ended)
    except DaemonError as error:
        say(str(error))
        return 1
    return 0


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="mps_daemon", description=(__doc__ or "").partition("\n")[0]
    )
    add = parser.add_argument
    add("role", choices=("reserve", "serve", "probe"))
    add("of", nargs="?", choices=("reserve", "serve"), help="what to probe")
    gpu = os.environ.get(GPU)
    add("--gpu", required=not gpu, default=gpu, help=f"UUID of the GPU; default: ${GPU}")
    add("--user", type=int, default=65534, help="whose clients the daemon serves")
    add("--threads", type=int, default=100, help="percentage of the GPU's threads, of every client")
    add("--memory", default="", help="memory of every client, such as 1024M; '' for no limit")
    return parser.parse_args(arguments)


# --- the GPU and the directory ----------------------------------------------------------------


def reserve(options: argparse.Namespace, ended: threading.Event) -> None:
    """Until the pod is released or ends."""
    if hold.released(hold.ANNOTATIONS):  # before this container was started again
        say(f"{options.gpu} is everybody's")
        ended.wait()
        return
    pipes = pipe_directory()
    os.chown(pipes, os.getuid(), os.getgid())  # what it is to become is for its owner to say
    pipes.chmod(ONLY_ITS_USER)
    os.chown(pipes, options.user, options.user)
    set_mode(options.gpu, RESERVED)
    say(f"{options.gpu} is reserved for MPS, {pipes} for user {options.user}")
    try:
        wait(ended)
    finally:
        set_mode(options.gpu, FREE)
        say(f"{options.gpu} is everybody's")
    ended.wait()


def set_mode(gpu: str, mode: str) -> None:
    output("nvidia-smi", "-i", gpu, "-c", mode)


def read_mode(gpu: str) -> str:
    query = ("--query-gpu=compute_mode", "--format=csv,noheader")
    return output("nvidia-smi", "-i", gpu, *query).strip()


# --- the daemon -------------------------------------------------------------------------------


def serve(options: argparse.Namespace, ended: threading.Event) -> None:
    """Until the pod is released or ends. DaemonError where the daemon ends by itself."""
    if hold.released(hold.ANNOTATIONS):
        say("the daemon has ended")
        ended.wait()
        return
    clear(pipe_directory())
    daemon = subprocess.Popen([CONTROL, "-f"])
    while not answers():
        if daemon.poll() is not None or ended.wait(hold.LOOK_SECONDS):
            raise DaemonError(f"{CONTROL} did not start: exit code {daemon.poll()}")
    limits = set_limits(options)
    found = {"program": "mps_daemon", "user": os.getuid(), "limits": limits}
    print(json.dumps(found), flush=True)  # noqa: T201
    wait(ended, daemon)
    if (code := daemon.poll()) is not None:
        raise DaemonError(f"{CONTROL} ended with exit code {code}")
    with suppress(DaemonError):  # it ends without an answer
        control("quit -t 1")
    try:
        daemon.wait(QUIT_SECONDS)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
    clear(pipe_directory())
    say("the daemon has ended")
    ended.wait()


def set_limits(options: argparse.Namespace) -> dict[str, str]:
    """What the daemon answers when it is asked for them."""
    control(f"set_default_active_thread_percentage {options.threads}")
    found = {"threads": control("get_default_active_thread_percentage")}
    if options.memory:
        control(f"set_default_device_pinned_mem_limit {options.gpu} {options.memory}")
        found["memory"] = control(f"get_default_device_pinned_mem_limit {options.gpu}")
    return found


def answers() -> bool:
    try:
        return bool(control("get_default_active_thread_percentage"))
    except DaemonError:
        return False


def control(command: str) -> str:
    return output(CONTROL, given=f"{command}\n").strip()


def clear(folder: Path) -> None:
    """What an earlier daemon left there; clients take its pipes for living ones."""
    for path in folder.iterdir():
        path.unlink()


# --- both -------------------------------------------------------------------------------------


def probe(options: argparse.Namespace) -> None:
    done = read_mode(options.gpu) == RESERVED_MODE if options.of == "reserve" else answers()
    if not done and not hold.released(hold.ANNOTATIONS):
        raise DaemonError(f"{options.of}: not yet")


def wait(ended: threading.Event, daemon: subprocess.Popen[bytes] | None = None) -> None:
    """Until the pod is released, is to end, or the daemon has ended."""
    while not (hold.released(hold.ANNOTATIONS) or (daemon and daemon.poll() is not None)):
        if ended.wait(hold.LOOK_SECONDS):
            return


def pipe_directory() -> Path:
    return Path(os.environ[PIPE_DIRECTORY])


def output(*command: str, given: str = "") -> str:
    """What it prints. Raises DaemonError with its words where it fails."""
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise DaemonError(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        said = " ".join(f"{done.stdout} {done.stderr}".split())
        raise DaemonError(f"{' '.join(command)}: exit code {done.returncode}: {said}")
    return done.stdout


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
