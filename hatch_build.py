"""Builds the compiled floor (src/limpet/snapshots/native/floor.c) when Limpet is installed.

It is optional: without a compiler that works, Limpet installs and runs on its Python twin.
"""

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLATFORM = sysconfig.get_platform()
FOLDER = Path("src/limpet/snapshots/native")
FLAGS = (
    "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-fstack-protector-strong",
    "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2",
)  # fmt: skip
LINUX_FLAGS = ("-Wl,-z,relro,-z,now,-z,noexecstack",)
BOTH_MACS = ("-arch", "arm64", "-arch", "x86_64")


class FloorHook(BuildHookInterface):  # type: ignore[type-arg]
    """Compiles the floor beside its source and puts it into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before a wheel, editable or not."""
        del version
        library = Path(self.root) / FOLDER / "_floor.so"
        if not compiled(Path(self.root) / FOLDER / "floor.c", library):
            self.app.display_warning(
                "limpet: no C compiler that works; the slower Python twin will be used"
            )
            return
        build_data["artifacts"].append(f"{FOLDER}/{library.name}")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{PLATFORM.replace('-', '_').replace('.', '_')}"


def flags() -> list[str]:
    """What the compiler is told on this machine."""
    found = list(FLAGS)
    if sys.platform == "linux":
        found += LINUX_FLAGS
    elif PLATFORM.endswith("universal2"):
        found += BOTH_MACS
    return found


def compiled(source: Path, library: Path) -> bool:
    """Compile the source; False when that is not possible here, and then no library is left."""
    made = library.with_name(f"{library.name}.{os.getpid()}")
    compiler = shlex.split(os.environ.get("CC") or "cc")
    command = [*compiler, *flags(), "-o", str(made), str(source)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
        if done.returncode == 0:
            made.replace(library)
            return True
        sys.stderr.write(done.stderr)
    except OSError:
        pass
    made.unlink(missing_ok=True)
    library.unlink(missing_ok=True)
    return False
