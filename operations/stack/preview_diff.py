"""What a change does to every stack, as the engine and the providers themselves see it.

The base revision and the working tree are laid into folders of their own, with a state of their
own and the tools of this checkout. Each stack is brought up as the base describes it, but with
providers that make nothing (`operations/stack/stand_in.py`): that leaves the state of a lab in
which all went well. The working tree's program is then previewed on that state: the providers say
which field forces a replacement, the engine what is replaced along with it.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from machine.cluster_state import FACTS, KUBECONFIG, RUN, START_ID, STARTED
from machine.errors import LabError
from machine.run import ProgramFailed, ProgramMissing, run_program
from operations.stack import stand_in
from report.preview_diff import Comparison, Outcome, outcome, removed
from toolchain.layout import BIN, ROOT
from toolchain.stacks import environment

SHARED = (".venv", ".tools")
TOOLS = ("requirements.lock", "toolchain/modules", "toolchain/tools")
"""What decides the tools and packages, which are those of this checkout for both sides."""
DEFAULT_BASES = ("origin/main", "HEAD~1")
OWN = ("PULUMI", "KUBECONFIG", "DRA_WORKSHOP")
"""What a person's shell may hold and must not decide anything here."""
UNANSWERED = """\
apiVersion: v1
kind: Config
current-context: cluster
clusters: [{name: cluster, cluster: {server: "http://127.0.0.1:9"}}]
contexts: [{name: cluster, context: {cluster: cluster, user: cluster}}]
users: [{name: cluster, user: {}}]
"""


def compare(base: str, wanted: Sequence[str]) -> Comparison:
    """Compare the working tree with a revision; all stacks of both unless some are wanted. An empty
    base is where this branch left origin/main or, without that, the last commit but one.

    Raises LabError for a base or a stack that does not exist.
    """
    base, commit = _resolve(base)
    with tempfile.TemporaryDirectory(prefix="preview-diff-") as name:
        folder = Path(name)
        (folder / "state").mkdir()
        old, new = _Side(folder / "base"), _Side(folder / "head")
        _lay_revision(commit, old.folder)
        _lay_working_tree(new.folder)
        for side in (old, new):
            for shared in SHARED:
                (side.folder / shared).symlink_to(ROOT / shared)
        stacks = sorted({*old.stacks(), *new.stacks()})
        for stack in wanted:
            if stack not in stacks:
                raise LabError(f"there is no stack '{stack}'; stacks: {', '.join(stacks)}")
        outcomes = _compare_each(old, new, list(wanted) or stacks)
    described = _git("show", "--no-patch", "--format=%h %s", commit)
    return Comparison(base, described, tuple(_notes(commit)), outcomes)


def _git(*arguments: str) -> str:
    try:
        # Names of files may be any bytes.
        return run_program(
            ["git", *arguments], cwd=ROOT, undecodable="surrogateescape"
        ).output.strip()
    except ProgramMissing:
        raise LabError("git is not on PATH; a comparison needs it") from None
    except ProgramFailed as error:
        raise LabError(f"git {arguments[0]}: {error.finished.errors.strip()}") from None


def _resolve(base: str) -> tuple[str, str]:
    try:
        _git("rev-parse", "--show-toplevel")
    except LabError:
        raise LabError(f"{ROOT.name}/ is not a git checkout: nothing to compare with") from None
    if base:
        return base, _commit(base)
    for name in DEFAULT_BASES:
        try:
            return name, _git("merge-base", _commit(name), "HEAD")
        except LabError:
            continue
    raise LabError(f"none of {', '.join(DEFAULT_BASES)} is there; name a revision with BASE=…")


def _commit(name: str) -> str:
    try:
        return _git("rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}")
    except LabError:
        raise LabError(
            f"there is no revision '{name}' in this checkout; "
            "git log --oneline --all lists those that are"
        ) from None


def _notes(commit: str) -> list[str]:
    notes = []
    if _git("status", "--porcelain", "--", ".", *(f":!{name}" for name in SHARED)):
        notes.append("changes that are not committed are included")
    if _git("diff", "--name-only", commit, "--", *TOOLS):
        notes.append(
            "packages or tools differ between the two: both were previewed with this checkout's"
        )
    return notes


def _lay_revision(commit: str, folder: Path) -> None:
    folder.mkdir()
    with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
        _git("archive", "--output", archive.name, commit)
        run_program(["tar", "-x", "-f", archive.name, "-C", str(folder)])


def _lay_working_tree(folder: Path) -> None:
    listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in listed:
        source, target = ROOT / name, folder / name
        if name in SHARED or not source.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)


class _Refused(Exception):
    """Pulumi could not do it; the text is its error in one line."""


@dataclass(frozen=True)
class _Side:
    """One of the two projects, in a folder beside the state that both use."""

    folder: Path

    def stacks(self) -> list[str]:
        return [path.name.split(".")[1] for path in self.folder.glob("Pulumi.*.yaml")]

    def preview(self, stack: str) -> list[dict[str, Any]]:
        printed = self.run_with_stand_ins("preview", "--json", "--show-sames", stack=stack)
        return list(json.loads(printed)["steps"])

    def run_with_stand_ins(self, *arguments: str, stack: str) -> str:
        """What pulumi prints."""
        written = yaml.safe_load((self.folder / f"Pulumi.{stack}.yaml").read_text()) or {}
        kind = str((written.get("config") or {}).get("dra-workshop:cluster", "embedded"))
        _lay_cluster(self.folder / RUN / stack, kind)
        with stand_in.providers(self.folder) as attached:
            return self.pulumi(*arguments, "--stack", stack, extra=attached)

    def pulumi(self, *arguments: str, extra: dict[str, str] | None = None) -> str:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(OWN)}
        own = {
            "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
            "PULUMI_BACKEND_URL": f"file://{self.folder.parent / 'state'}",
        }
        env = kept | environment() | own | (extra or {})
        command = ["pulumi", *arguments, "--non-interactive", "--color", "never"]
        done = run_program(command, cwd=self.folder, env=env, check=False)
        if done.code:
            raise _Refused(_reason(done.output, done.errors))
        return done.output


def _reason(printed: str, errors: str) -> str:
    """One line out of what pulumi printed: its first error, and what a traceback ends with."""
    try:
        texts = [each["message"] for each in json.loads(printed)["diagnostics"]]
    except (ValueError, KeyError):
        texts = [printed]
    lines = [line.strip() for text in (*texts, errors) for line in text.splitlines()]
    found = [line for line in lines if re.search(r"error:|^\w*(Error|Exception): ", line)]
    return " ".join(dict.fromkeys(found)) or errors.strip() or "pulumi gave no reason"


def _lay_cluster(folder: Path, kind: str) -> None:
    """The files of a cluster that runs as it always did, so that nothing has to revive it. Its
    kubeconfig names a server that does not answer: the providers must not ask one."""
    folder.mkdir(parents=True, exist_ok=True)
    # processes: what a revision looks for that does not ask ports yet.
    facts = {"kind": kind, "ports": {}, "processes": 0, "nodes": []}
    (folder / FACTS).write_text(json.dumps(facts))
    (folder / STARTED).write_text("{}")
    (folder / START_ID).write_text("as before")
    (folder / KUBECONFIG).write_text(UNANSWERED)


def _compare_each(old: _Side, new: _Side, stacks: list[str]) -> dict[str, Outcome]:
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        try:
            outcomes = threads.map(lambda stack: _compare(old, new, stack), stacks)
            return dict(zip(stacks, outcomes, strict=True))
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _compare(old: _Side, new: _Side, stack: str) -> Outcome:
    before, after = stack in old.stacks(), stack in new.stacks()
    try:
        (old if before else new).pulumi("stack", "init", "--no-select", "--stack", stack)
        if before and not after:
            return removed(old.preview(stack))
        if before:
            old.run_with_stand_ins("up", "--yes", "--skip-preview", stack=stack)
    except _Refused as error:
        return Outcome("uncompared", reason=f"the base cannot be previewed here: {error}")
    try:
        found = outcome(new.preview(stack))
    except _Refused as error:
        return Outcome("failed", reason=str(error))
    return found if before else replace(found, status="new")
