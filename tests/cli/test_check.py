"""check: a store's damage in a table, its end in a sentence, its verdict in the exit code."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from limpet.control.data_folder import held
from tests.cli.conftest import Cli
from tests.snapshots.damaging import Past, changed_at, key_of
from tests.snapshots.trees import scratch_folder


@pytest.fixture(scope="module")
def made() -> Iterator[Past]:
    with scratch_folder() as folder:
        yield Past(folder)


@pytest.fixture
def store(made: Past, cli: Cli) -> Path:
    """The configured store of the command line, with a history in it."""
    place = cli.folder / "data" / "sandbox-snapshots"
    shutil.copytree(made.store, place)
    return place


def test_a_whole_store_is_said_to_be_whole(cli: Cli, store: Path) -> None:
    for arguments in ((), ("--read-data",), ("--org", "org"), ("--store", str(store))):
        ran = cli("check", *arguments)
        assert (ran.code, ran.out) == (0, "")
        assert "1 org" in ran.err
        assert "no damage" in ran.err
    assert "every byte read" in cli("check", "--read-data").err


def test_damage_is_shown_with_the_snapshots_that_it_touches(
    cli: Cli, store: Path, made: Past
) -> None:
    packed = made.heads[0].packed
    assert packed is not None
    pack = f"v1/org/packs/{packed.packs[0].name}"
    (store / pack).unlink()
    ran = cli("check")
    assert ran.code == 1
    *rows, last = ran.out.strip().splitlines()
    assert any(pack in row and "pack-missing" in row and "4 of them" in row for row in rows)
    assert "5 damaged, 4 snapshots touched" in last


def test_programs_get_all_of_it(cli: Cli, store: Path, made: Past) -> None:
    head = store / key_of(made.heads[2])
    head.write_bytes(b"?")
    ran = cli("check", "--json")
    assert ran.code == 1
    assert (ran.json["ok"], ran.json["orgs"], ran.json["damage"]) == (False, 1, 1)
    [finding] = [one for one in ran.json["findings"] if one["damage"]]
    assert (finding["kind"], finding["key"]) == ("head-unreadable", key_of(made.heads[2]))
    assert finding["org"] == "org"


def test_only_reading_the_data_shows_a_byte_that_changed(cli: Cli, store: Path) -> None:
    largest = max((store / "v1/org/packs").iterdir(), key=lambda path: path.stat().st_size)
    body = largest.read_bytes()
    largest.write_bytes(changed_at(body, 100_000))
    assert cli("check").code == 0
    assert cli("check", "--read-data").code == 1


def test_where_there_is_nothing_that_is_said(cli: Cli) -> None:
    for ran in (cli("check"), cli("check", "--repair")):
        assert ran.code == 0
        assert "There are no snapshots" in ran.err


def contents(store: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}


def test_a_check_writes_nothing_whatever_it_finds(cli: Cli, store: Path, made: Past) -> None:
    (store / key_of(made.heads[2])).write_bytes(b"?")
    max((store / "v1/org/packs").iterdir()).write_bytes(b"")
    before = contents(cli.folder)
    for arguments in ((), ("--read-data",), ("--json",), ("--store", str(store))):
        ran = cli("check", *arguments)
        assert ran.code == 1
        assert "--json" in arguments or "limpet check --repair" in ran.err
    assert contents(cli.folder) == before


def test_a_repair_of_a_whole_store_does_nothing_and_says_so(cli: Cli, store: Path) -> None:
    before = contents(store)
    ran = cli("check", "--repair")
    assert (ran.code, ran.out) == (0, "")
    assert "1 org, every byte read: nothing to repair" in ran.err
    assert cli("check", "--repair", "--json").json == {"ok": True, "orgs": 1, "repairs": []}
    assert contents(store) == before


def test_damage_that_takes_nothing_is_mended_and_is_no_failure(cli: Cli, store: Path) -> None:
    pack = max((store / "v1/org/packs").iterdir(), key=lambda path: path.stat().st_size)
    body = pack.read_bytes()
    pack.write_bytes(body[:-20])
    ran = cli("check", "--repair", "--store", str(store))
    assert ran.code == 0
    assert "1 pack made again to the byte, 4 snapshots whole again" in ran.out
    assert pack.read_bytes() == body
    assert cli("check", "--read-data").code == 0


def test_what_is_lost_is_named_and_where_the_rest_is(cli: Cli, store: Path, made: Past) -> None:
    damaged = made.lose("large", 0, store).read_bytes()
    ran = cli("check", "--repair")
    assert ran.code == 6
    *rows, last = ran.out.strip().splitlines()
    lost = [key_of(head) for head in reversed(made.heads) if head.kind == "tree"]
    assert [row.split()[0] for row in rows[1:]] == lost
    assert all(row.endswith("large") for row in rows[1:])
    assert "the rest is kept as side-" in rows[1]
    assert last == "1 org, every byte read: 4 snapshots not whole any more"
    assert "limpet snapshots ls AGENT" in ran.err
    assert "Nothing was deleted: 1 damaged object moved" in ran.err
    assert damaged in contents(store / "v1/org/damaged").values()
    again = cli("check", "--repair")
    assert (again.code, cli("check", "--read-data").code) == (0, 0)
    assert "nothing to repair" in again.err


def test_programs_get_all_that_a_repair_did(cli: Cli, store: Path, made: Past) -> None:
    head = key_of(made.heads[2])
    (store / head).write_bytes(b"?")
    ran = cli("check", "--repair", "--json")
    assert ran.code == 6
    assert (ran.json["ok"], ran.json["orgs"]) == (False, 1)
    [told] = ran.json["repairs"]
    [note] = told["incomplete"]
    assert (told["org"], note["key"], note["kept_in"]) == ("org", head, None)
    assert (told["put_back"], told["made"], told["whole_again"], told["moved"]) == ([], [], [], [])


@pytest.mark.parametrize("named", [False, True])
def test_no_repair_while_a_server_runs(cli: Cli, store: Path, made: Past, named: bool) -> None:
    (store / key_of(made.heads[2])).write_bytes(b"?")
    with held(cli.folder / "data", local_only=False):
        before = contents(cli.folder)
        ran = cli("check", "--repair", *(("--store", str(store)) if named else ()))
        assert ran.code == 5
        assert "Another limpet serve" in ran.err
        assert "Stop it first" in ran.err
        assert cli("check").code == 1, "only looking may go on"
        assert contents(cli.folder) == before
    assert cli("check", "--repair").code == 6


def test_a_store_that_lies_in_no_data_folder_gets_no_lock(cli: Cli, store: Path) -> None:
    elsewhere = cli.folder / "elsewhere" / "store"
    shutil.copytree(store, elsewhere)
    assert cli("check", "--repair", "--store", str(elsewhere)).code == 0
    assert [path.name for path in elsewhere.parent.iterdir()] == ["store"]


def test_the_exit_codes_are_in_the_help(cli: Cli) -> None:
    told = " ".join(cli("check", "--help").out.split())
    for code in ("0: no damage", "1: damage", "6: something is lost"):
        assert code in told


def test_a_folder_that_is_no_store_is_wrong_use(cli: Cli) -> None:
    (cli.folder / "other").mkdir()
    for folder in ("other", "missing"):
        ran = cli("check", "--store", str(cli.folder / folder))
        assert ran.code == 2
        assert "limpet:" in ran.err
