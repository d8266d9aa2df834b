"""A lab that is only assumed is previewed as one that was truly made."""

from __future__ import annotations

import json
from pathlib import Path

from report.preview_diff import outcome
from tests.checkout import Checkout


def test_a_change_means_the_same_to_an_assumed_and_to_a_real_lab(tmp_path: Path) -> None:
    copy = Checkout.make(tmp_path / "checkout")
    copy.history()
    copy.stack("module3")
    try:
        made = copy.up("module3")
        assert made.code == 0, made.text
        copy.edit("manifests/module3/00-namespace.yaml", "labels:", "labels:\n    team: red")
        copy.edit("workloads/hold.py", '"""', '"""Changed. ')
        copy.edit("components/gpu_node.py", '"kubernetes.io/os": "linux"', '"a": "b"')

        real = copy.run("sh", "-c", "pulumi preview --json --stack module3 2>/dev/null")
        assumed = copy.preview_diff("--base", "HEAD", "--stack", "module3", "--json")
    finally:
        removed = copy.destroy("module3")
    assert removed.code == 0, removed.text

    planned = outcome(json.loads(real.text)["steps"]).entries
    entries = json.loads(assumed.text)["stacks"]["module3"]["entries"]
    assert [(entry["operation"], entry["resource"]) for entry in entries] == [
        (entry.operation, entry.resource) for entry in planned
    ]
    assert {entry["operation"] for entry in entries} == {"change", "replace"}
