"""What was measured, as a table, as bars that were reached or not, as JSON and as pictures."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.snapshots.cases import CASES, COLD, CREATE, FIRST, OURS, SAME, TEN, WALK, WARM
from bench.snapshots.drawing import Bar, chart
from bench.snapshots.measuring import Case
from bench.snapshots.memory import TOLD
from bench.snapshots.whole import WHOLE

Cases = Mapping[str, Case]
TAR, ZSTD, RESTIC = "GNU tar", "tar | zstd -1", "restic"
FLAT_BYTES: Final = 150_000_000


@dataclass
class Measured:
    """All of one run."""

    machine: str
    versions: dict[str, str] = field(default_factory=dict)
    workspaces: dict[str, str] = field(default_factory=dict)
    changed_bytes: int = 0
    cases: dict[str, Cases] = field(default_factory=dict)
    """By workspace."""
    memory: dict[str, dict[str, int]] = field(default_factory=dict)
    disk: Cases = field(default_factory=dict)
    volume: Cases = field(default_factory=dict)
    """Restores from a disk that reads `volume_mb_s` and of which nothing is in memory."""
    volume_mb_s: int = 0
    not_measured: list[str] = field(default_factory=list)
    """What could not be measured here, and why."""
    sandboxes: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {
            "machine": self.machine,
            "versions": self.versions,
            "workspaces": self.workspaces,
            "changed_bytes": self.changed_bytes,
            "cases": {
                name: {case: found.as_dict() for case, found in cases.items()}
                for name, cases in self.cases.items()
            },
            "memory_bytes": self.memory,
            "disk": {case: found.as_dict() for case, found in self.disk.items()},
            "volume": {case: found.as_dict() for case, found in self.volume.items()},
            "volume_mb_s": self.volume_mb_s,
            "not_measured": self.not_measured,
            "sandboxes": self.sandboxes,
        }


def lines(found: Measured) -> Iterator[str]:
    """The report for a terminal."""
    yield found.machine
    yield ""
    for name, version in found.versions.items():
        yield f"  {name:14} {version}"
    for workspace, cases in found.cases.items():
        yield ""
        yield found.workspaces[workspace]
        yield from _table(cases)
    if found.disk:
        yield ""
        yield "npm, on the disk, with sync (one file system, pairs in turns)"
        yield from _table(found.disk)
    if found.volume:
        yield ""
        yield f"npm, from a disk that reads {found.volume_mb_s} MB/s, nothing of it in memory"
        yield from _table(found.volume)
    for what in found.not_measured:
        yield ""
        yield f"not measured: {what}"
    if found.memory:
        yield ""
        yield f"peak memory, MB{'':13}" + "".join(f"{TOLD[part]:>24}" for part in TOLD)
        for workspace, peaks in found.memory.items():
            told = "".join(f"{peaks[part] / 1e6:24.0f}" for part in TOLD)
            yield f"  {workspace:26}" + told
    yield ""
    yield "bars"
    for what, value, is_reached in bars(found):
        yield f"  {'yes' if is_reached else 'NO ':3}  {what:68} {value}"


def _table(cases: Cases) -> Iterator[str]:
    for name in CASES:
        case = cases.get(name)
        if case is None or not case.times:
            continue
        yield f"  {name}"
        for tool in sorted(case.times, key=case.median):
            low, high = min(case.times[tool]), max(case.times[tool])
            ratio = f"x {case.ratio(tool, OURS):6.2f}" if case.has(OURS) and tool != WHOLE else ""
            stored = f"{case.stored[tool] / 1e6:10.2f} MB" if tool in case.stored else ""
            note = case.notes.get(tool, "")
            yield (
                f"    {tool:18} {case.median(tool):8.3f} s  ({low:.3f} to {high:.3f})"
                f"  {ratio:9}{stored:>14}  {note}".rstrip()
            )


def bars(found: Measured) -> Iterator[tuple[str, str, bool]]:
    """What was to be reached, what came out, and whether that is enough."""
    cases = found.cases.get("npm", {})
    same, ten, first = cases.get(SAME), cases.get(TEN), cases.get(FIRST)
    cold, warm = cases.get(COLD), cases.get(WARM)
    if same and same.has(OURS, WALK):
        ratio = same.ratio(OURS, WALK)
        yield "nothing changed: at most 1.5 x a C stat walk", f"{ratio:.2f}", ratio <= 1.5
        stored = same.stored[OURS]
        yield "nothing changed: 0 bytes stored", f"{stored}", stored == 0
    if ten and ten.has(OURS, TAR):
        ratio = ten.ratio(OURS, TAR)
        yield "10 files changed: at most 1/20 of a full tar's time", f"{ratio:.3f}", ratio <= 0.05
    if ten and found.changed_bytes and OURS in ten.stored:
        ratio = ten.stored[OURS] / found.changed_bytes
        yield (
            "10 files changed: stored at most 1.2 x those files",
            f"{ratio:.2f} ({ten.stored[OURS]:,} bytes)",
            ratio <= 1.2,
        )
    if first and first.has(OURS, ZSTD):
        ratio = first.ratio(OURS, ZSTD)
        yield "first save: not slower than tar | zstd -1", f"{ratio:.2f}", ratio <= 1
    if first and first.has(OURS, RESTIC):
        ratio = first.ratio(OURS, RESTIC)
        yield "first save: at most half of restic's time", f"{ratio:.2f}", ratio <= 0.5
    if cold and cold.has(OURS, TAR):
        ratio = cold.ratio(OURS, TAR)
        yield "restore: faster than tar -xf", f"{ratio:.2f}", ratio < 1
    slow = found.volume.get(COLD)
    if slow and slow.has(OURS, TAR):
        ratio = slow.ratio(OURS, TAR)
        what = f"restore from a disk that reads {found.volume_mb_s} MB/s: faster than tar -xf"
        yield what, f"{ratio:.2f}", ratio < 1
    if cold and cold.has(OURS, CREATE):
        ratio = cold.ratio(OURS, CREATE)
        yield "restore: within 1.5 x of C that only creates the files", f"{ratio:.2f}", ratio <= 1.5
    if cold and warm and cold.has(OURS) and warm.has(OURS):
        ratio = warm.median(OURS) / cold.median(OURS)
        yield "warm restore: under half of a cold one", f"{ratio:.2f}", ratio < 0.5
    if found.sandboxes:
        told = found.sandboxes
        ratio = (told["all"] - told["edits"]) / told["template"]
        what = f"{told['count']:,} sandboxes: at most 1.1 x one template, plus what differs"
        yield what, f"{ratio:.3f} (of {told['template']:,} bytes)", ratio <= 1.1
    for workspace, peaks in found.memory.items():
        for part, peak in peaks.items():
            yield (
                f"memory, {workspace}, {TOLD[part]}: under 150 MB",
                f"{peak / 1e6:.0f} MB",
                peak < FLAT_BYTES,
            )


def write(found: Measured, results: Path, images: Path) -> list[Path]:
    """Write JSON, the same as text beside it, and pictures; gives what was written."""
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(found.as_dict(), indent=1) + "\n")
    made = [results, results.with_suffix(".txt")]
    made[-1].write_text("\n".join(lines(found)) + "\n")
    images.mkdir(parents=True, exist_ok=True)
    if "npm" in found.cases:
        made.append(images / "bench-peers.svg")
        made[-1].write_text(_peers(found.cases["npm"], found.workspaces["npm"]))
    if len(found.cases) > 1:
        made.append(images / "bench-growth.svg")
        made[-1].write_text(_growth(found))
    if found.memory:
        made.append(images / "bench-memory.svg")
        made[-1].write_text(_memory(found))
    return made


def _kind(tool: str) -> str:
    if tool in {OURS, WHOLE}:
        return "ours"
    return "floor" if tool.startswith("C:") else "bar"


def _peers(cases: Cases, workspace: str) -> str:
    groups = {}
    for name in (FIRST, SAME, TEN, COLD):
        case = cases[name]
        ours = case.median(OURS) if case.has(OURS) else 0
        groups[name] = [
            Bar(tool, took, f"{took:.2f} s" + _times_ours(tool, took, ours), _kind(tool))
            for tool in sorted(case.times, key=case.median)
            for took in [case.median(tool)]
        ]
    note = f"{workspace}; medians on a tmpfs; x: in proportion to {OURS}."
    if any(case.has(WHOLE) for case in cases.values()):
        note += f" {WHOLE}: a real server and daemon, over HTTP."
    return chart("Saving and restoring a workspace", groups, note)


def _times_ours(tool: str, took: float, ours: float) -> str:
    return f" ({took / ours:.1f} x)" if ours and tool != OURS else ""


def _growth(found: Measured) -> str:
    groups = {}
    for name in (FIRST, SAME, COLD):
        groups[name] = [
            Bar(
                f"{workspace}, {tool}",
                cases[name].median(tool),
                f"{cases[name].median(tool):.2f} s",
                _kind(tool),
            )
            for workspace, cases in found.cases.items()
            for tool in (OURS, TAR)
            if cases[name].has(tool)
        ]
    note = "; ".join(found.workspaces.values())
    return chart("Workspaces of other shapes, beside GNU tar", groups, note)


def _memory(found: Measured) -> str:
    groups = {
        TOLD[part]: [
            Bar(workspace, peaks[part] / 1e6, f"{peaks[part] / 1e6:.0f} MB", "ours")
            for workspace, peaks in found.memory.items()
        ]
        for part in TOLD
    }
    return chart(
        "Peak memory of a save and a restore", groups, "; ".join(found.workspaces.values())
    )
