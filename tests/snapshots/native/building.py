"""What tests of the compiled floor need: a compiler, and a copy of the project to build."""

import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
NATIVE = PROJECT / "src/limpet/snapshots/native"
needs_compiler = pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler is here")


def compile_shared(source: Path, library: Path, *flags: str) -> None:
    """Compile a C file to a library that can be loaded; a warning fails the test."""
    strict = ["-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", *flags]
    done = subprocess.run(
        ["cc", *strict, "-o", library, source, "-ldl"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def project_copy(to: Path) -> Path:
    """What a build reads, apart from this checkout: builds here would replace its library."""
    to.mkdir()
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(PROJECT / name, to)
    ignored = shutil.ignore_patterns("__pycache__", "_floor.so*")
    shutil.copytree(PROJECT / "src/limpet", to / "src/limpet", ignore=ignored)
    for empty in ("web/dist", "templates"):
        (to / empty).mkdir(parents=True)
        (to / empty / "nothing").touch()
    return to
