"""A sandbox that lies, the whole way: its HTTP server, the control plane, the store.

A real host runner starts a daemon of ours that speaks the protocol and answers saves with one of
the `CASES`. Whatever it sends: the error is one of ours and says what is wrong with it, no head is
written, the last good snapshot is whole, nothing of another tenant is reached, nothing beside the
sandbox is touched, and the control plane's memory stays flat.
"""

import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from limpet.control.db import EMBEDDED_ORG
from limpet.control.sandboxes import saving
from limpet.control.sandboxes.streams import STALL_S, without_stalls
from limpet.errors import LimpetError
from limpet.ids import AgentId, Branch, OrgId, SnapshotId
from limpet.snapshots.repository import BranchRef, Head
from limpet.snapshots.restore_tree import restore_stream
from limpet.snapshots.tree import delete_tree
from tests.control.sandboxes import conftest as sandboxes
from tests.control.sandboxes.conftest import Box, House
from tests.faults_engine import hostile_streams as hostile
from tests.faults_engine.suites import Suite
from tests.snapshots.oracle import read_stream
from tests.snapshots.packed_streams import in_pieces, save_stream, tree_of
from tests.snapshots.trees import Description, describe

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(280)]
SUITE = Suite("hostile daemon")
DAEMON = Path(__file__).with_name("hostile_daemon.py")
LIMIT_BYTES = 8 << 20
QUICK = [name for name, case in hostile.CASES.items() if case.quick]
REST = [name for name in hostile.CASES if name not in QUICK]


class Peak:
    """How much more memory this process, the control plane, had at once than at the beginning."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")
        self._before = _status("VmRSS")

    def grown_bytes(self) -> int:
        return _status("VmHWM") - self._before


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    raise AssertionError(name)


class Plane:
    """A control plane with one lying sandbox, one good snapshot of it, and the work of others."""

    def __init__(self, house: House, box: Box) -> None:
        self.house, self.box = house, box
        self.canary = house.data_dir.parent / "canary"
        self.stall_s = STALL_S

    def without_stalls(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return without_stalls(chunks, self.stall_s)

    async def prepare(self) -> None:
        parts = self.house.service.parts
        parts.settings = parts.settings.model_copy(update={"max_workspace_bytes": LIMIT_BYTES})
        for org, agent, blob in (
            ("another", "agt_x", hostile.SECRET),
            (EMBEDDED_ORG, "agt_y", hostile.ALSO_SECRET),
        ):
            await self.house.repository.save_packed(
                BranchRef(OrgId(org), AgentId(agent), Branch("main")),
                in_pieces(save_stream(tree_of({"mine": blob, "folder": {"secret": blob}}))),
                base=None, reason="manual", parent=None, fencing=1, expected_generation=0,
            )  # fmt: skip
        self.canary.mkdir()
        (self.canary / "in").write_bytes(b"untouched")
        await self.box.start()
        self.good = await self.head(str((await self.box.save()).id))
        self.tree = await self.restored(self.good)
        root = await self.box.root()
        for name in ("staging", "beside"):
            (root / name).mkdir(exist_ok=True)
            (root / name / "canary").write_bytes(b"untouched")
        self.outside = self.around(root)

    def around(self, root: Path) -> Description:
        """What lies beside the sandbox, and beside its staging folder."""
        kept = {
            b"%b %b" % (top.name.encode(), path): told
            for top in (self.canary, root / "staging", root / "beside")
            for path, told in describe(top).items()
        }
        return {**kept, b"root": tuple(sorted(path.name for path in root.iterdir()))}

    async def head(self, snapshot: str) -> Head:
        found = await self.house.repository.find(self.box.ref, SnapshotId(snapshot))
        assert found is not None
        return found

    async def restored(self, head: Head) -> Description:
        chunks = [chunk async for chunk in await self.house.repository.open_packed(head)]
        into = self.house.data_dir.parent / "restored"
        restore_stream(iter(chunks), into, expect_root=head.blake3)
        try:
            return describe(into)
        finally:
            delete_tree(into)

    async def evil(self, how: str) -> None:
        (await self.box.root() / "state" / "evil").write_text(how)

    async def attack(self, name: str) -> None:
        """One save that lies, and what must hold afterwards."""
        case = hostile.CASES[name]
        before = [one.id for one in await self.box.snapshots()]
        await self.evil(name)
        self.stall_s = 1.0 if name == "stalled" else STALL_S
        peak = Peak()
        error: LimpetError | None = None
        try:
            await self.box.save()
        except LimpetError as refused:
            error = refused
        grown = peak.grown_bytes()
        assert grown <= case.growth_bytes, f"{name}: {grown / 2**20:.0f} MiB"
        SUITE.counts["MiB at most"] = max(SUITE.counts["MiB at most"], grown >> 20)
        row = await self.box.row()
        if case.refused_as:
            assert error is not None, f"{name}: it was taken"
            assert error.code in case.refused_as, f"{name}: {error.code}: {error.message}"
            assert row.last_save_error is not None
            assert row.last_save_error["code"] == error.code, name
            assert [one.id for one in await self.box.snapshots()] == before, name
            SUITE.count("refused")
        else:
            assert error is None, f"{name}: {error!r}"
            newest = (await self.box.snapshots())[0]
            assert newest.receipt is not None
            assert (await self.head(newest.id)).blake3 == self.good.blake3, name
            assert newest.receipt.entries == self.good.receipt.entries, name
            SUITE.count("taken as it is")
        assert await self.restored(self.good) == self.tree, name
        assert self.around(await self.box.root()) == self.outside, name

    async def recovers(self) -> None:
        """The sandbox can be saved again once it is honest."""
        await self.evil("")
        saved = await self.box.save()
        assert (await self.head(saved.id)).blake3 == self.good.blake3
        assert (await self.box.row()).last_save_error is None


@pytest.fixture
async def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Plane]:
    command = (sys.executable, "-P", str(DAEMON))
    monkeypatch.setattr(sandboxes, "DAEMON_COMMAND", command)
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "templates").mkdir()
    house = House(tmp_path / "data", tmp_path / "templates")
    await house.open()
    try:
        made = Plane(house, await house.agent())
        monkeypatch.setattr(saving, "without_stalls", made.without_stalls)
        await made.prepare()
        yield made
    finally:
        await house.destroy()


async def test_a_sandbox_that_lies_about_its_workspace_is_refused(plane: Plane) -> None:
    for name in QUICK:
        await plane.attack(name)
        await plane.recovers()


async def test_a_sandbox_that_is_wrong_about_its_base_is_saved_in_full(plane: Plane) -> None:
    await plane.evil("wrong about its base")
    saved = await plane.box.save()
    assert (await plane.head(saved.id)).blake3 == plane.good.blake3
    assert (await plane.box.row()).last_save_error is None


@pytest.mark.engine_fault
async def test_every_lie_about_a_workspace_is_refused(plane: Plane) -> None:
    random.Random(SUITE.seed).shuffle(REST)
    for name in REST:
        await plane.attack(name)
    await plane.recovers()


@pytest.mark.parametrize(
    "how",
    [
        "needs what is another's",
        "needs without end",
        *(
            pytest.param(how, marks=pytest.mark.engine_fault)
            for how in [*hostile.PLANS, "answers an error", "answers no object"]
            if how not in {"needs what is another's", "needs without end"}
        ),
    ],
)
async def test_a_sandbox_that_lies_about_a_restore_gets_nothing_of_others(
    plane: Plane, how: str
) -> None:
    """Refused, or restored whole: it is given its own snapshot and nothing else."""
    await plane.evil(how)
    peak = Peak()
    refused = ""
    try:
        await plane.box.restore(plane.good.snapshot)
    except LimpetError as error:
        refused = error.code
    assert peak.grown_bytes() <= 150 << 20
    assert refused in {"", "foreign_blob", "daemon_error"}
    assert bool(refused) == (not how.startswith("needs ") or "another" in how), refused
    received = list((await plane.box.root() / "state").glob("received-*"))
    streams = [path.read_bytes() for path in received]
    streams = [stream for stream in streams if stream.startswith(b"LSTREAM1")]
    assert streams
    for stream in streams:
        read = read_stream(stream)
        for kind in (0, 1):
            for blob in read.blobs(kind).values():
                assert hostile.SECRET not in blob
                assert hostile.ALSO_SECRET not in blob
    assert plane.good.snapshot in {one.id for one in await plane.box.snapshots()}
    assert await plane.restored(plane.good) == plane.tree
    SUITE.count("restores with a lying sandbox")
