"""The suites' counts, at the end of every run."""

import pytest

from tests.faults_engine.suites import told


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.ensure_newline()
    for line in told():
        terminalreporter.write_line(line)
