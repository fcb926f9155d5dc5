"""What this machine can do: one probe a capability, each with a way to force it off.

`LIMPET_WITHOUT` (names split by commas) makes a probe say no, so that every fallback is tested
where the capability exists: `pty`, `pidfd`, `subreaper`, `inotify`, `ripgrep`, `proc`.
"""

import functools
import os
import shutil
import sys
from pathlib import Path


def has(name: str) -> bool:
    """Whether `name` is there and not forced off."""
    if name in os.environ.get("LIMPET_WITHOUT", "").replace(",", " ").split():
        return False
    return _probe(name)


@functools.cache
def _probe(name: str) -> bool:
    if name == "pidfd":
        return hasattr(os, "pidfd_open")
    if name == "ripgrep":
        return shutil.which("rg") is not None
    if name == "proc":
        return Path("/proc/self/stat").exists()
    if name in {"subreaper", "inotify"}:
        return sys.platform == "linux"
    return True
