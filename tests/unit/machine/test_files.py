"""Files are replaced in one step: whoever reads one finds the old content or the new."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from machine.files import PRIVATE, write_json, write_text

KILLED = """
import os, signal, sys
from pathlib import Path
from machine.files import write_text
Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
write_text(Path(sys.argv[1]), "new")
"""


def test_a_kill_before_the_replacement_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    write_text(path, "old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert (done.returncode, path.read_text()) == (-9, "old")
    write_text(path, "newest")
    assert path.read_text() == "newest"
    assert list(tmp_path.iterdir()) == [path], "what the killed program left is gone"


def test_what_is_no_json_never_replaces_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_json(path, {"status": "passed"})
    with pytest.raises(TypeError):
        write_json(path, {"status": object()})
    assert json.loads(path.read_text()) == {"status": "passed"}
    assert list(tmp_path.iterdir()) == [path]


def test_text_is_utf_8(tmp_path: Path) -> None:
    write_text(tmp_path / "text", "µs")
    assert (tmp_path / "text").read_bytes() == "µs".encode()


def test_keys_are_for_this_user_only_whatever_lay_there(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    for name in (path, tmp_path / ".kubeconfig.new"):
        name.write_text("open to all")
        name.chmod(0o644)
    write_text(path, "secret", mode=PRIVATE)
    assert (stat.S_IMODE(path.stat().st_mode), path.read_text()) == (0o600, "secret")
