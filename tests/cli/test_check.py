"""check: a store's damage in a table, its end in a sentence, its verdict in the exit code."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.snapshots.damaging import Past, key_of
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
    largest.write_bytes(body[:100_000] + b"?" + body[100_001:])
    assert cli("check").code == 0
    assert cli("check", "--read-data").code == 1


def test_where_there_is_nothing_that_is_said(cli: Cli) -> None:
    ran = cli("check")
    assert ran.code == 0
    assert "There are no snapshots" in ran.err


def test_a_folder_that_is_no_store_is_wrong_use(cli: Cli) -> None:
    (cli.folder / "other").mkdir()
    for folder in ("other", "missing"):
        ran = cli("check", "--store", str(cli.folder / folder))
        assert ran.code == 2
        assert "limpet:" in ran.err
