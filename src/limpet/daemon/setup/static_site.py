"""How a site of plain files is served: by a program of ours that runs like any dev server."""

import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Final

from limpet.daemon.ownership import owner_of
from limpet.daemon.settings import DaemonSettings

PROGRAM: Final = Path(__file__).with_name("static_server.py")


def command(settings: DaemonSettings, folder: Path, path: str) -> list[str]:
    """The argv that serves `folder`. Where the sandbox's user may not run the daemon's own Python
    or read the program, the machine's Python runs a text of it.
    """
    python, program = Path(sys.executable), PROGRAM
    if owner_of(settings) is None or (_is_open(python) and _is_open(program)):
        return [str(python), "-I", str(program), str(folder)]
    found = shutil.which("python3", path=path) or str(python)
    return [found, "-I", "-c", program.read_text(), str(folder)]


def _is_open(path: Path) -> bool:
    """Whether everybody can get at it."""
    real = Path(os.path.realpath(path))
    try:
        ways = all(one.stat().st_mode & stat.S_IXOTH for one in real.parents)
        return ways and bool(real.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
