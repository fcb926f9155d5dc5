"""What users can set is documented, and what is documented can be set."""

import re
from pathlib import Path

from limpet.control.settings import PREFIX, Settings

DOCS = Path(__file__).parent.parent / "docs"
DAEMON = Path(__file__).parent.parent / "src/limpet/daemon"


def documented(page: str, heading: str) -> set[str]:
    """The variables in the table under a heading of a page."""
    section = (DOCS / page).read_text().split(f"## {heading}", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row.split("|")[1])}


def test_every_setting_of_the_control_plane_is_documented_and_no_other() -> None:
    settings = {PREFIX + name.upper() for name in Settings.model_fields}
    assert documented("configuration.md", "The control plane (`limpet serve`)") == settings


def test_every_variable_that_the_daemon_reads_is_documented() -> None:
    sources = "".join(file.read_text() for file in DAEMON.rglob("*.py"))
    names = r'"((?:DAEMON_|OFFLOAD_)[A-Z_]*[A-Z]|APP_ROOT|WORKDIR|PROXY_PORT|SANDBOX_ROOT)"'
    assert set(re.findall(names, sources)) - documented("protocol.md", "Environment") == set()
