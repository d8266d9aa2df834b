"""A copy of the project for one test: its own stacks, state, clusters and results.

The committed files are copied, so a test never writes into them; the environment of Python and
the tools are shared by links.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
SHARED = (".venv", ".tools")
UNSHARED = (".git", ".state", ".run", ".results", ".mypy_cache", ".ruff_cache", ".pytest_cache")
PLAIN = ("--non-interactive", "--color", "never")
NO_NETWORK = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
"""Any connection that leaves this machine fails at once."""


@dataclass(frozen=True)
class Done:
    """How a command ended: its exit code, all that it printed, and how long it took."""

    code: int
    text: str
    seconds: float


@dataclass(frozen=True)
class Checkout:
    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Checkout:
        ignored = shutil.ignore_patterns(*SHARED, *UNSHARED, "__pycache__")
        shutil.copytree(ROOT, folder, ignore=ignored)
        for name in SHARED:
            (folder / name).symlink_to(ROOT / name)
        (folder / ".state").mkdir()
        return cls(folder)

    def command(self, *arguments: str) -> list[str]:
        """The command as it is run; a copy may run all of them somewhere else."""
        return list(arguments)

    def run(self, *command: str, **environment: str) -> Done:
        started = time.monotonic()
        done = subprocess.run(
            self.command(*command), cwd=self.folder, env=self.environment() | environment,
            text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            check=False, timeout=300,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, time.monotonic() - started)

    def environment(self) -> dict[str, str]:
        """That of `.tools/env`, for this copy, and without what a person's shell may hold."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PULUMI", "KUBECONFIG"))}
        return kept | {
            "PATH": f"{self.folder / '.tools' / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PULUMI_BACKEND_URL": f"file://{self.folder / '.state'}",
            "PULUMI_HOME": str(ROOT / ".tools" / "pulumi"),
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }

    def pulumi(self, *arguments: str, **environment: str) -> Done:
        return self.run("pulumi", *PLAIN, *arguments, **environment)

    def stack(self, name: str) -> None:
        """Make the stack in this copy's own state."""
        made = self.pulumi("stack", "init", name, "--no-select")
        assert made.code == 0, made.text

    def configure(self, stack: str, key: str, value: str) -> None:
        done = self.pulumi(
            "config", "set", "--stack", stack, "--type", "string", "--path", key, "--", value
        )
        assert done.code == 0, done.text

    def up(self, stack: str, **environment: str) -> Done:
        arguments = ("up", "--yes", "--skip-preview", "--suppress-progress", "--suppress-outputs")
        return self.pulumi(*arguments, "--stack", stack, **environment)

    def preview(self, stack: str, *arguments: str) -> Done:
        return self.pulumi("preview", "--suppress-progress", "--stack", stack, *arguments)

    def destroy(self, stack: str) -> Done:
        return self.pulumi("destroy", "--yes", "--skip-preview", "--suppress-progress",
                           "--stack", stack)  # fmt: skip

    def outputs(self, stack: str) -> dict[str, Any]:
        done = self.pulumi("stack", "output", "--json", "--stack", stack)
        assert done.code == 0, done.text
        found: dict[str, Any] = json.loads(done.text)
        return found

    def kubectl(self, stack: str, *arguments: str) -> Done:
        return self.run("kubectl", "--kubeconfig", f".run/{stack}/kubeconfig", *arguments)

    def operate(self, *arguments: str, **environment: str) -> Done:
        """What the Makefile runs, without set-up."""
        return self.run(".venv/bin/python", "-m", "operations", *arguments, **environment)

    def processes(self) -> list[str]:
        """Command lines of the processes that run a program of this copy."""
        mark = str(self.folder.resolve()) + os.sep
        lines = [p.info["cmdline"] or [] for p in psutil.process_iter(["cmdline"])]
        return [" ".join(line)[:200] for line in lines if line and line[0].startswith(mark)]

    def credentials(self, stack: str) -> list[str]:
        """Copies of the stack's kubeconfig in the temporary folder."""
        mark, found = f"{self.folder.absolute() / '.run' / stack}{os.sep}", []
        for path in Path(tempfile.gettempdir()).glob("kubeconfig*"):
            with suppress(OSError):  # a test beside this one has removed its own
                if mark in path.read_text(errors="replace"):
                    found.append(str(path))
        return found

    # --- a history of its own -----------------------------------------------------------------

    def history(self) -> None:
        """Make it a git repository with one commit."""
        self.git("init", "-q", "-b", "main")
        self.commit("base")

    def git(self, *arguments: str) -> None:
        done = self.run("git", "-c", "user.name=t", "-c", "user.email=t@localhost", *arguments)
        assert done.code == 0, done.text

    def commit(self, message: str) -> None:
        self.git("add", "--all", *(f":!{name}" for name in SHARED))
        self.git("commit", "-q", "-m", message)

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace the first `old` in a file, which must be there."""
        path = self.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    def preview_diff(self, *arguments: str) -> Done:
        command = (".venv/bin/python", "-m", "operations", "preview-diff", *arguments)
        return self.run(*command, **NO_NETWORK)
