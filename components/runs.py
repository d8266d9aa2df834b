"""Which run a check is in: a new one when its program or manifests changed, for as long as its
last verdict was a failure, and after its cluster had to be started again.

A run id goes into the inputs of a check and of the pods that it observes. While it stays the
same nothing is done again; a new one makes fresh pods and has them checked. Check programs
leave their last result in `.results/<stack>/checks/`, which is read here.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from components import program, sources
from machine.programs import VERIFY, record_name

_now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a check, which its pods share.

    check: the name of its program; variant: of the module, where the program verifies several;
    start_id: of the cluster; digest: of the program and of what it looks at; id: the run id.
    """

    check: str
    start_id: str
    digest: str
    id: str
    variant: str = ""

    @property
    def name(self) -> str:
        return record_name(self.check, self.variant)


def run_of(
    stack: str, check: str, start_id: str, observed: Sequence[Path] = (), variant: str = ""
) -> Run:
    """The run that `check` is in. observed: files whose change asks for a new one, beside those
    of its program."""
    digest = program.digest(*sources.of_check(check), *observed)
    run = run_id(stack, record_name(check, variant), start_id, digest)
    return Run(check=check, start_id=start_id, digest=digest, id=run, variant=variant)


def run_id(
    stack: str, check: str, start_id: str, digest: str, results: Path = Path(".results")
) -> str:
    """The run that `check` is in: the digest of its program and manifests, or the time at which it
    had to be run again although they are the same.

    start_id: of the cluster (machine/cluster_state.py). A run that was killed has no result, and
    counts as failed; so does a record that cannot be read.
    """
    record = results / stack / "checks" / f"{check}.json"
    if os.environ.get(VERIFY):
        return _now
    try:
        last = json.loads(record.read_text())
        if last["digest"] != digest:
            return digest
        again = last["result"]["status"] == "failed" or last["start_id"] != start_id
        return _now if again else str(last["run"])
    except FileNotFoundError:
        return digest
    except (OSError, ValueError, KeyError, TypeError):
        return _now


def verdict_run(stack: str, results: Path = Path(".results")) -> str:
    """The run that the verdict is in: a new one for as long as the last results are not those of
    an update that passed, so that they never stand beside a lab that does."""
    try:
        last = json.loads((results / stack / "latest" / "results.json").read_text())
        return str(last.get("run", "")) if last["status"] == "passed" else _now
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError, TypeError):
        return _now
