"""What users can set is documented, and what is documented can be set."""

import re
from pathlib import Path

from limpet.control.settings import PREFIX, Settings

PAGE = (Path(__file__).parent.parent / "docs" / "configuration.md").read_text()


def documented(heading: str) -> set[str]:
    """The variables in the table under a heading."""
    section = PAGE.split(f"## {heading}", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row.split("|")[1])}


def test_every_setting_of_the_control_plane_is_documented_and_no_other() -> None:
    settings = {PREFIX + name.upper() for name in Settings.model_fields}
    assert documented("The control plane (`limpet serve`)") == settings


def test_every_variable_that_the_daemon_reads_is_documented() -> None:
    source = (Path(__file__).parent.parent / "src/limpet/daemon/settings.py").read_text()
    read = set(re.findall(r'"((?:DAEMON|SANDBOX|OFFLOAD|APP|WORKDIR|PROXY)_?[A-Z_]*)"', source))
    assert read - documented("The daemon alone (`limpet-daemon`)") == set()
