"""The benchmark runs, and what it prints follows from what it measured."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.snapshots.cases import COLD, CREATE, FIRST, OURS, SAME, TEN, WALK, Comparison
from bench.snapshots.drawing import Bar, chart
from bench.snapshots.measuring import Case
from bench.snapshots.memory import TOLD
from bench.snapshots.report import RESTIC, TAR, ZSTD, Measured, bars, write
from bench.snapshots.slow_disk import CannotLimitError, reads_limited
from bench.snapshots.tools import Tar
from bench.snapshots.workspaces import Workspace, make

pytestmark = pytest.mark.long


def measured(**seconds: float) -> Measured:
    """A run in which everything took a second but what is told."""
    found = Measured("here")
    found.cases["npm"] = {name: Case(name) for name in (FIRST, SAME, TEN, COLD)}
    for case in found.cases["npm"].values():
        for tool in (OURS, TAR, ZSTD, RESTIC, WALK, CREATE):
            for _ in range(3):
                case.add(tool, seconds.get(tool.split()[-1], 1.0))
        case.stored[OURS] = 0
    return found


def test_ratios_are_medians_of_the_rounds_own() -> None:
    case = Case("x", {"a": [1.0, 2.0, 30.0], "b": [1.0, 4.0, 10.0]})
    assert case.median("a") == 2.0
    assert case.ratio("a", "b") == 1.0


@pytest.mark.parametrize(
    ("seconds", "reached"),
    [({"Limpet": 1.0, "tar": 1.0}, False), ({"Limpet": 1.0, "tar": 1.1}, True)],
)
def test_a_bar_is_reached_or_it_is_not(seconds: dict[str, float], reached: bool) -> None:
    told = {what: is_reached for what, _, is_reached in bars(measured(**seconds))}
    assert told["restore: faster than tar -xf"] is reached
    assert told["first save: at most half of restic's time"] is False


def test_changed_files_are_those_that_people_change(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "packages").mkdir()
    for number in range(5):
        (tmp_path / f"src/{number}").write_text("mine\n")
        (tmp_path / f"packages/{number}").write_text("theirs\n")
    changed = Workspace.at("x", tmp_path).change(3, 1)
    longer = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > 7]
    assert {path.parent.name for path in longer} == {"src"}
    assert changed == sum(path.stat().st_size for path in longer)


def test_a_workspace_is_the_same_each_time(tmp_path: Path) -> None:
    one, other = (make("tiny", tmp_path / name, tmp_path) for name in ("a", "b"))
    assert (one.entries, one.bytes) == (other.entries, other.bytes)
    assert all(
        path.read_bytes() == (other.folder / path.relative_to(one.folder)).read_bytes()
        for path in one.folder.rglob("f*")
    )


def test_a_chart_is_a_picture() -> None:
    drawn = chart(
        "A <chart>", {"one & all": [Bar("a", 1.5, "1.5 s", "ours"), Bar("b", 0, "0")]}, ""
    )
    top = ET.fromstring(drawn)
    assert len(list(top.iter("{http://www.w3.org/2000/svg}rect"))) == 2


def test_the_pictures_tell_how_many_times_ours_each_tool_took(tmp_path: Path) -> None:
    found = measured(restic=4.0, Limpet=0.5)
    found.workspaces["npm"] = "npm: 3 entries"
    found.memory["npm"] = dict.fromkeys(TOLD, 50_000_000)
    drawn = write(found, tmp_path / "results" / "r.json", tmp_path / "images")
    pictures = ["bench-peers.svg", "bench-memory.svg"]
    assert [path.name for path in drawn] == ["r.json", "r.txt", *pictures]
    texts = [one.text for one in ET.parse(drawn[2]).iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("4.00 s (8.0 x)") == 4
    assert texts.count("0.50 s") == 4


def test_a_restore_that_lost_something_has_no_time(tmp_path: Path) -> None:
    class Forgetful(Tar):
        def restore(self, state: Path, into: Path) -> None:
            super().restore(state, into)
            next(path for path in into.rglob("*") if path.is_file()).unlink()

    workspace = make("tiny", tmp_path / "tiny", tmp_path)
    told = Comparison(workspace, tmp_path, [Forgetful(compressed=False)], None, lambda _: None)
    with pytest.raises(RuntimeError, match=r"GNU tar: .* was saved"):
        told.round(0)


def test_a_disk_is_slow_within_the_block_and_no_longer(tmp_path: Path) -> None:
    def groups() -> str:
        return Path("/proc/self/cgroup").read_text()

    before = groups()
    try:
        with reads_limited(tmp_path, 5_000_000):
            mine = next(line for line in groups().splitlines() if "blkio" in line)
            group = Path("/sys/fs/cgroup/blkio") / mine.rpartition(":")[2].lstrip("/")
            limit = (group / "blkio.throttle.read_bps_device").read_text()
    except CannotLimitError as error:
        assert groups() == before
        pytest.skip(str(error))
    assert limit.split()[1] == "5000000"
    assert groups() == before
    assert not group.exists()


def test_a_folder_without_a_disk_cannot_be_slow() -> None:
    before = Path("/proc/self/cgroup").read_text()
    with pytest.raises(CannotLimitError), reads_limited(Path("/proc"), 5_000_000):
        pass
    assert Path("/proc/self/cgroup").read_text() == before


def test_the_whole_of_it_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable, "-m", "bench.snapshots", "--workspace", "tiny", "--rounds", "1",
            "--only", "peers", "--only", "sandboxes", "--only", "memory", "--sandboxes", "3",
            "--scratch", str(tmp_path), "--results", str(tmp_path / "results.json"),
            "--images", str(tmp_path / "images"),
        ],
        capture_output=True, text=True, check=False, timeout=120,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "yes  3 sandboxes" in done.stdout
    told = json.loads((tmp_path / "results.json").read_text())
    assert set(told["cases"]["tiny"]) >= {FIRST, SAME, TEN, COLD}
    assert told["cases"]["tiny"][SAME]["stored_bytes"][OURS] == 0
    assert len(told["cases"]["tiny"][FIRST]["times_s"][TAR]) == 1
    assert (tmp_path / "images" / "bench-memory.svg").exists()
    assert not list(tmp_path.glob("limpet-bench-*"))
