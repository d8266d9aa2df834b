"""What the documents name exists: files, headings, targets of make, messages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.opaque_configs import WRONG

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]+)?\)")
FOLDERS = (
    "bench|checks|components|faults|kube|machine|manifests|operations|report|results|tests|toolchain"
    "|workloads"
)
PATH = re.compile(rf"`((?:{FOLDERS})/[\w./-]*)`")
COMMAND = re.compile(r"(?:`|^[$#] (?:sudo )?)make ([a-z][a-z-]*)", re.MULTILINE)
TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)
OF_OTHERS = (
    "401 Unauthorized",
    "CUDA_MPS_PIPE_DIRECTORY must be set",
    "Err",
    "Exclusive_Process",
    "ImagePullBackOff",
    "Init:0/1",
    "MissingClusterDNS",
    "Pending",
    "Terminating",
    "admission webhook",
    "cannot re-use a name",
    "command",
    "failed calling webhook",
    "no stack named",
    "requested device",
    "the stack is currently locked",
)
"""How messages begin that Kubernetes, Pulumi and NVIDIA write."""


def heading_anchors(page: Path) -> set[str]:
    """As GitHub makes them: lower case, no punctuation, hyphens for spaces."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for path, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        target = (page.parent / path.replace("\\", "")).resolve() if path else page
        assert target.exists(), f"{page.name} links to {path}"
        if anchor:
            assert anchor[1:] in heading_anchors(target), f"{page.name} links to {path}{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    named = PATH.findall(page.read_text(encoding="utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_targets_of_make_exist(page: Path) -> None:
    targets = TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8"))
    assert set(COMMAND.findall(page.read_text(encoding="utf-8"))) <= set(targets)


@cache
def literals() -> list[str]:
    """All texts in the programs; what they fill in separates two."""
    folders = [ROOT / folder for folder in FOLDERS.split("|") if folder != "tests"]
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return [
        node.value
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def quoted_messages(page: str) -> Iterator[str]:
    """What the first column of the troubleshooting tables quotes."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for line in text[text.index("roubleshooting") :].splitlines():
        if line.startswith("| "):
            yield from re.findall(r"`([^`]+)`", line.split("|")[1])


@pytest.mark.parametrize("page", ["troubleshooting.md", "existing.md"])
def test_messages_that_are_quoted_exist(page: str) -> None:
    """`…` in a quotation stands for what the program fills in."""
    parts = [
        part.strip()
        for message in quoted_messages(page)
        if not message.startswith(OF_OTHERS)
        for part in message.split("…")
    ]
    assert parts
    assert [p for p in parts if not any(p in text for text in literals())] == []


def test_the_page_of_module_4_tells_where_the_driver_refuses_what() -> None:
    page = (ROOT / "docs" / "modules" / "module4.md").read_text(encoding="utf-8")
    for wrong in WRONG.values():
        assert f"\n{wrong.row}\n" in page
