"""`python -m toolchain …`."""

from __future__ import annotations

import sys

import pytest

from toolchain import __main__, clean, install
from toolchain.errors import SetupError


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["toolchain", *arguments])
    return __main__.main()


@pytest.mark.parametrize(
    ("options", "host_node", "kind"),
    [
        ([], False, False),
        (["--host-node"], True, False),
        (["--kind"], False, True),
        (["--kind", "--host-node"], True, True),
    ],
)
def test_install_makes_a_host_node_and_kind_only_when_asked(
    options: list[str], host_node: bool, kind: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[tuple[bool, bool]] = []
    monkeypatch.setattr(install, "install", lambda *asked: called.append(asked))
    assert call(monkeypatch, "install", *options) == 0
    assert called == [(host_node, kind)]


@pytest.mark.parametrize(("option", "with_cache"), [([], False), (["--cache"], True)])
def test_clean_keeps_the_cache_unless_asked(
    option: list[str], with_cache: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[bool] = []
    monkeypatch.setattr(clean, "clean", called.append)
    call(monkeypatch, "clean", *option)
    assert called == [with_cache]


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (SetupError("no Go on PATH"), 1, "set-up: error: no Go on PATH\n"),
        (KeyboardInterrupt(), 130, "set-up: interrupted; run the same command again to go on\n"),
    ],
    ids=["failed", "interrupted"],
)
def test_an_error_is_one_line_and_no_traceback(
    error: BaseException,
    code: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: bool) -> None:
        raise error

    monkeypatch.setattr(install, "install", fail)
    assert call(monkeypatch, "install") == code
    assert capsys.readouterr() == ("", told)


@pytest.mark.parametrize("arguments", [[], ["remove"]], ids=["none", "unknown"])
def test_a_command_that_is_not_there_is_answered_with_the_usage(
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        call(monkeypatch, *arguments)
    assert "usage: python -m toolchain" in capsys.readouterr().err
