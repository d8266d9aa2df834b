"""Says at the end how many killed engines were recovered from."""

from __future__ import annotations

import pytest

KILLS = "::test_a_killed_engine["


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    converged = [r for r in terminalreporter.getreports("passed") if KILLS in r.nodeid]
    failed = [r for r in terminalreporter.getreports("failed") if KILLS in r.nodeid]
    if total := len(converged) + len(failed):
        terminalreporter.write_line(f"killed engines: {len(converged)} of {total} converged")
