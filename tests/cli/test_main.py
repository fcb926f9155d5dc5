"""The command as a whole: help, version, what it loads, and how it ends."""

import subprocess
import sys

import pytest

from limpet import __version__
from tests.cli.conftest import Cli
from tests.sdk.wire import Wire

COMMANDS = [
    "new",
    "ls",
    "start",
    "stop",
    "open",
    "rm",
    "exec",
    "logs",
    "tasks",
    "snapshots",
    "serve",
    "doctor",
]


def test_help_shows_every_command_and_the_exit_codes(cli: Cli) -> None:
    ran = cli("--help")
    assert ran.code == 0
    for command in COMMANDS:
        assert f"│ {command} " in ran.out
    assert "limpet new webapp --open" in ran.out
    assert "6 a snapshot is damaged" in ran.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(cli: Cli, command: str) -> None:
    ran = cli(command, "--help")
    assert ran.code == 0
    assert command == "serve" or command in ("tasks", "snapshots") or "--json" in ran.out


def test_version(cli: Cli) -> None:
    assert cli("--version").out == f"limpet {__version__}\n"


def test_help_loads_neither_the_control_plane_nor_an_http_client() -> None:
    script = (
        "import sys; sys.argv = ['limpet', '--help']; from limpet.cli.main import main; main();"
        "heavy = ('limpet.control', 'limpet.runners', 'limpet.snapshots', 'limpet.daemon',"
        " 'limpet.stores', 'urllib3', 'rich.live', 'fastapi', 'sqlalchemy', 'asyncio', 'anyio');"
        "print('LOADED', [m for m in heavy if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "LOADED []"


def test_a_reader_that_leaves_early_gets_no_complaint(wire: Wire, cli: Cli) -> None:
    wire.on(
        "GET /sandboxes/calm-cove-0123/logs", {"sources": ["a"], "logs": {"a": "x\n" * 500_000}}
    )
    piped = subprocess.run(
        ["bash", "-o", "pipefail", "-c",
         f"{sys.executable} -m limpet.cli logs 'My shop' | head -n 1"],
        env=cli.environ({"PYTHONUNBUFFERED": ""}), capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert (piped.returncode, piped.stdout, piped.stderr) == (1, "x\n", "")
