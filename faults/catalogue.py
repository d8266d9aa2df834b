"""The faults, as data."""

from collections.abc import Sequence
from functools import partial

from checks.mps_daemon import NAME
from faults import acts
from faults.acts import Daemon
from faults.model import Claim, Client, Fault, Sight
from kube.devices import GPU

LIMITED = {
    "strategy": "MPS",
    "mpsConfig": {
        "defaultActiveThreadPercentage": 50,
        "defaultPinnedDeviceMemoryLimit": "1Gi",
    },
}
LIMIT_MIB = 1024
MPS = {"gpu": Claim(sharing=LIMITED)}
SHARED = {"gpu": Claim()}
"""Without a configuration: the pods of the claim take turns on the GPU."""
APART = {**SHARED, "other": Claim(other=True)}
FRESH = Client()
OF_DRIVER = Daemon(prefix=f"{NAME}{{claim}}-")
"""The one that NVIDIA's driver runs for a claim."""

OF_LAB = Daemon(prefix="mps-daemon-", namespace="dra-mps", model="client-1")
"""The one that the lab runs as a DaemonSet."""

SLICES = Sight(
    id="slices", title="the GPUs stay published", look=acts.slices_stayed,
    expected="as many devices as before", kind="unharmed",
)  # fmt: skip


def goes_on(*names: str) -> Sight:
    return Sight(
        id="clients-go-on", title="the clients go on", look=lambda s: s.go_on(*names),
        expected="at work, never restarted", kind="unharmed",
    )  # fmt: skip


def ends(name: str, title: str = "", expected: str = "CUDA_ERROR") -> Sight:
    """expected: what is in the error with which the client ends."""
    return Sight(
        id=f"{name}-ends", title=title or f"{name} ends with an error",
        look=lambda s: s.ended(name, expected), expected=expected, kind="effect", least=GPU,
    )  # fmt: skip


def new_client(needs: str, client: Client = FRESH) -> Sight:
    return Sight(
        id="new-client", title="a new pod of the same claim works",
        look=partial(acts.new_client, name="new", client=client), expected="at work", needs=needs,
    )  # fmt: skip


def mps_daemon(name: str, which: str, daemon: Daemon) -> Fault:
    """The pod of an MPS control daemon is deleted while its clients work."""
    return Fault(
        name=name,
        breaks=f"the pod of {which} is deleted while clients work",
        claims=MPS if daemon.of_driver else SHARED,
        clients={
            "one": Client(model=daemon.model),
            "restarting": Client(restart="OnFailure", model=daemon.model),
        },
        prepare=partial(acts.wake_daemon, daemon=daemon),
        inject=partial(acts.kill_daemon, daemon=daemon),
        restore=partial(acts.release_daemon, daemon=daemon),
        sights=(
            ends("one", "a client that does not restart is lost"),
            Sight(
                id="daemon-back", title="its daemon is back, another pod",
                look=partial(acts.daemon_back, daemon=daemon), expected="Ready",
            ),
            Sight(
                id="restarted", title="a client that restarts works again", least=GPU,
                look=lambda s: s.restarted("restarting"), expected="at work", within=120,
            ),
            new_client("daemon-back", Client(model=daemon.model)),
            Sight(
                id="pods-go-on", title="the pods go on", kind="unharmed",
                look=lambda s: s.go_on_without_silicon("one", "restarting"),
                expected="at work, never restarted",
            ),
            Sight(
                id="limits", title="with the same limits, and the GPU still reserved",
                look=partial(acts.same_limits, daemon=daemon), kind="unharmed",
                expected="as before",
            ),
            SLICES,
        ),
    )  # fmt: skip


def client_crash(
    name: str, how: str, claims: dict[str, Claim], *, spared: bool = True, gpus: int = 1
) -> Fault:
    """One of two pods writes where no memory is; they have one claim each if there are two."""
    crasher = Client(claim=[*claims][-1], arguments=("--crash",))
    fate = (goes_on("neighbour"),) if spared else (
        ends("neighbour", "its neighbour, which did nothing wrong, ends too"),
    )  # fmt: skip
    return Fault(
        name=name,
        breaks=f"one of two clients crashes by an illegal access; they {how}",
        claims=claims,
        clients={"neighbour": Client()},
        inject=partial(acts.start, name="crasher", client=crasher, event="crashing"),
        least=GPU,
        gpus=gpus,
        sights=(
            ends("crasher", expected="CUDA_ERROR_ILLEGAL_ADDRESS"),
            *fate,
            new_client("crasher-ends"),
            SLICES,
        ),
    )


def allocation(name: str, breaks: str, client: Client, sights: Sequence[Sight]) -> Fault:
    """A client that takes memory, beside one that works, under a limit of 1 GiB."""
    return Fault(
        name=name,
        breaks=breaks,
        claims=MPS,
        clients={"neighbour": Client()},
        inject=partial(acts.start, name="taker", client=client, event="began"),
        least=GPU,
        sights=(*sights, goes_on("neighbour"), SLICES),
    )


def granted(mib: int, processes: int = 1) -> Sight:
    each = f"{mib} MiB" if processes == 1 else f"{mib} MiB in each of {processes} processes"
    return Sight(
        id="granted", title=f"{each}: granted, under a limit of {LIMIT_MIB} MiB",
        look=partial(acts.granted, name="taker", mib=mib, processes=processes),
        expected=each, kind="effect",
    )  # fmt: skip


def node(name: str, breaks: str, inject: acts.Act, sights: Sequence[Sight]) -> Fault:
    """Processes of this machine as a node are killed, and `make up` is run. Its checks need the
    GPU: they wait until the clients have been looked at."""
    return Fault(
        name=name,
        breaks=f"{breaks} are killed; then: make up",
        claims=MPS,
        clients={"one": Client(), "restarting": Client(restart="Always")},
        inject=inject,
        host=True,
        sights=(
            Sight(
                id="node-back", title="the kubelet answers again", look=acts.node_back,
                expected="ok", within=120,
            ),
            Sight(
                id="slices-back", title="the GPUs are published, and stay so",
                look=acts.slices_back, expected="as many devices as before", needs="node-back",
                within=120,
            ),
            *sights,
            Sight(
                id="up", title="make up ends, every check passed again",
                look=lambda s: s.is_back(), expected="exit code 0", within=300,
                after=sights[-1].id,
            ),
        ),
    )  # fmt: skip


FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        mps_daemon("mps-daemon", "the claim's MPS daemon", OF_DRIVER),
        mps_daemon("mps-daemonset", "the lab's own MPS DaemonSet", OF_LAB),
        client_crash("client-crash-mps", "share a GPU by MPS", MPS, spared=False),
        client_crash("client-crash-turns", "share a GPU by taking turns", SHARED),
        client_crash("client-crash-apart", "have a GPU each", APART, gpus=2),
        allocation(
            "memory-limit",
            "a client takes more memory than its limit",
            Client(arguments=("--allocate", *["256"] * 4)),
            [ends("taker", "it is refused, and ends", "CUDA_ERROR_OUT_OF_MEMORY")],
        ),
        allocation(
            "two-processes",
            "two processes of one pod take 900 MiB each",
            Client(arguments=("--processes", "2", "--allocate", "900")),
            [granted(900, 2)],
        ),
        allocation(
            "unseen-gpu",
            "a client names a GPU that it does not see, to get more memory",
            Client(
                arguments=("--allocate", "2048"),
                environment={"CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": "0=2048M,1=4096M"},
            ),
            [granted(2048)],
        ),
        Fault(
            name="plugin",
            breaks="the pod of the kubelet plugin is deleted while clients work and a pod starts",
            claims={**MPS, "other": Claim(other=True)},
            clients={"one": Client(), "two": Client()},
            inject=acts.kill_plugin,
            sights=(
                Sight(
                    id="new-waits", title="a pod with a new claim waits", kind="effect",
                    look=acts.new_waits, expected="a warning of the kubelet", within=30,
                ),
                Sight(
                    id="plugin-back", title="the plugin is back, another pod",
                    look=acts.plugin_back, expected="Ready",
                ),
                Sight(
                    id="touched-runs", title="a pod that waited and was then annotated works",
                    look=acts.touched_runs, expected="at work", needs="plugin-back",
                ),
                Sight(
                    id="new-runs", title="a pod that waited works", within=120,
                    look=acts.new_runs, expected="at work", needs="plugin-back",
                ),
                goes_on("one", "two"),
                SLICES,
            ),
        ),
        node(
            "node-daemons",
            "kubelet, containerd and proxy of the host node",
            acts.kill_node_daemons,
            [
                Sight(
                    id="clients-go-on", title="the clients went on without them", kind="effect",
                    look=lambda s: s.go_on("one", "restarting"), needs="node-back",
                    expected="at work, never restarted", within=120,
                ),
            ],
        ),
        node(
            "node",
            "all processes of node, pods and control plane",
            acts.kill_all,
            [
                Sight(
                    id="one-ended", title="a pod that does not restart has failed",
                    look=lambda s: s.ended("one", ""), needs="node-back", kind="effect",
                    expected="not at work", within=120,
                ),
                Sight(
                    id="restarted", title="a pod that restarts works again",
                    look=lambda s: s.restarted("restarting"), needs="node-back",
                    expected="at work", within=120,
                ),
            ],
        ),
    )
}  # fmt: skip
