"""The compiled floor is built where a compiler works, and missed by nothing where none does."""

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hatch_build import compiled as compile_floor

from limpet.snapshots.native import KIND
from tests.snapshots.native.building import NATIVE, compile_shared, needs_compiler, project_copy

ROUND_TRIP = """
import os, sys
from array import array
import limpet
from limpet.snapshots.native import KIND, NewFiles, WriteJobs, parse_records, read_files
from limpet.snapshots.native import scan_folder, write_files
fd = os.open(sys.argv[1], os.O_RDONLY)
of = NewFiles()
of.add_columns([b"a"], [3], [0o644], [5])
jobs = WriteJobs(array("I", [0]), array("i", [fd]), array("Q", [1]))
assert write_files(b"12345", jobs, of).first_error() is None
[entry] = parse_records(scan_folder(fd).records)
assert bytes(read_files(fd, [entry.name], [entry.size]).data) == b"234"
print(KIND, limpet.__file__)
"""


def test_the_floor_in_use_is_the_one_that_was_asked_for() -> None:
    code = "from limpet.snapshots.native import KIND; print(KIND)"
    environ = {**os.environ, "LIMPET_WITHOUT": "syncfs,native"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "plain"


@needs_compiler
def test_where_there_is_a_compiler_the_floor_is_compiled() -> None:
    if "native" in os.environ.get("LIMPET_WITHOUT", ""):
        pytest.skip("this run does without it")
    assert KIND == "compiled", "run: make setup"


@needs_compiler
def test_an_install_has_the_compiled_floor_and_says_for_what_platform(tmp_path: Path) -> None:
    site = installed(tmp_path, "cc")
    assert round_trip(site, tmp_path) == "compiled"
    assert tags(site) != ["Tag: py3-none-any"]
    [tag] = tags(site)
    assert tag.startswith("Tag: py3-none-")


@pytest.mark.parametrize("compiler", ["false", "/nowhere/cc"])
def test_an_install_without_a_compiler_that_works_does_the_same_in_python(
    tmp_path: Path, compiler: str
) -> None:
    site = installed(tmp_path, compiler)
    assert round_trip(site, tmp_path) == "plain"
    assert tags(site) == ["Tag: py3-none-any"]
    assert not list(site.glob("limpet/snapshots/native/_floor*"))


def installed(tmp_path: Path, compiler: str) -> Path:
    """Where pip put Limpet, built with this compiler."""
    site = tmp_path / "site"
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--no-index", "--no-build-isolation", "--no-compile", "--target", site,
        project_copy(tmp_path / "project"),
    ]  # fmt: skip
    environ = {**os.environ, "CC": compiler}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return site


def round_trip(site: Path, tmp_path: Path) -> str:
    """The kind of floor that the installed Limpet uses, after it wrote, listed and read a file."""
    (tmp_path / "folder").mkdir()
    environ = {**os.environ, "PYTHONPATH": str(site), "LIMPET_WITHOUT": ""}
    done = subprocess.run(
        [sys.executable, "-c", ROUND_TRIP, tmp_path / "folder"],
        env=environ, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    kind, file = done.stdout.split()
    assert Path(file).is_relative_to(site)
    return kind


def tags(site: Path) -> list[str]:
    [wheel] = site.glob("limpet-*.dist-info/WHEEL")
    return [line for line in wheel.read_text().splitlines() if line.startswith("Tag:")]


@pytest.mark.deep
def test_a_source_distribution_has_the_source_and_no_library(tmp_path: Path) -> None:
    project = project_copy(tmp_path / "project")
    (project / "src/limpet/snapshots/native/_floor.so").write_bytes(b"of this machine")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path / "dist"]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    [archive] = (tmp_path / "dist").iterdir()
    with tarfile.open(archive) as opened:
        names = [Path(name).name for name in opened.getnames()]
    assert {"floor.c", "hashes.h"} <= set(names)
    assert "hatch_build.py" in names
    assert "_floor.so" not in names


@needs_compiler
@pytest.mark.deep
def test_a_compiler_that_stops_working_leaves_no_stale_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "_floor.so"
    for compiler in ("false", "/nowhere/cc", "sh -c 'exit 1'"):
        monkeypatch.delenv("CC", raising=False)
        assert compile_floor(NATIVE / "floor.c", library)
        assert os.listdir(tmp_path) == ["_floor.so"]
        monkeypatch.setenv("CC", compiler)
        assert not compile_floor(NATIVE / "floor.c", library)
        assert os.listdir(tmp_path) == []


@needs_compiler
def test_the_source_compiles_without_a_warning(tmp_path: Path) -> None:
    compile_shared(NATIVE / "floor.c", tmp_path / "floor.so")


@needs_compiler
def test_a_library_of_another_floor_is_never_called(tmp_path: Path) -> None:
    from limpet.snapshots.native.compiled import load

    source = (NATIVE / "floor.c").read_text()
    other, changed = re.subn(r"limpet_floor = \d+;", "limpet_floor = 0;", source)
    assert changed == 1
    (tmp_path / "other.c").write_text(other)
    (tmp_path / "none.c").write_text("int limpet_scan(void) { return 0; }\n")
    for name in ("other", "none"):
        compile_shared(tmp_path / f"{name}.c", tmp_path / f"{name}.so", f"-I{NATIVE}")
        with pytest.raises(ImportError, match="compiled floor"):
            load(tmp_path / f"{name}.so")
    wrong, changed = re.subn("0x6A09E667", "0x6A09E668", (NATIVE / "hashes.h").read_text())
    assert changed == 1
    (tmp_path / "hashes.h").write_text(wrong)
    (tmp_path / "floor.c").write_text(source)
    compile_shared(tmp_path / "floor.c", tmp_path / "wrong.so")
    with pytest.raises(ImportError, match="does not hash"):
        load(tmp_path / "wrong.so")
    (tmp_path / "torn.so").write_bytes(b"\x7fELF")
    with pytest.raises(ImportError, match="no compiled floor"):
        load(tmp_path / "torn.so")
