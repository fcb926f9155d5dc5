"""snapshots ls, save, restore, export, import."""

from pathlib import Path

from tests.cli.conftest import AGENT, RECEIPT, SNAPSHOT, Cli
from tests.sdk.wire import Answer, Wire, error

ASIDE = {
    **SNAPSHOT, "id": "20260102t000000z-bbbbbbbbbbbb", "lineage": "side-0123456789ab",
    "side_reason": "lost-race", "name": "kept", "is_head": True,
    "receipt": {**RECEIPT, "complete": False, "torn": [{"path": "a", "reason": "b"}]},
}  # fmt: skip
BELOW = f"/agents/{AGENT['id']}/snapshots"


def test_ls_shows_receipts_and_side_lineages(wire: Wire, cli: Cli) -> None:
    wire.on(f"GET {BELOW}", {"snapshots": [ASIDE, SNAPSHOT]})
    ran = cli("snapshots", "ls", "My shop")
    _, aside, head = ran.out.splitlines()
    assert head.startswith("* 20260101t000000z")
    assert "123.5 MB" in head
    assert "40,000 entries, complete" in head
    assert "lost-race" in aside
    assert "INCOMPLETE, 1 torn" in aside
    assert cli("snapshots", "ls", "abc", "--json").json == {"snapshots": [ASIDE, SNAPSHOT]}


def test_ls_of_nothing_says_when_there_will_be_something(wire: Wire, cli: Cli) -> None:
    wire.on(f"GET {BELOW}", {"snapshots": []})
    ran = cli("snapshots", "ls", "My shop")
    assert ran.out == ""
    assert "limpet snapshots save" in ran.err


def test_save_by_name(wire: Wire, cli: Cli) -> None:
    wire.on(f"POST {BELOW}", SNAPSHOT)
    assert SNAPSHOT["id"] in cli("snapshots", "save", "My shop", "--name", "good").err
    assert wire.last(f"POST {BELOW}").json == {"name": "good"}


def test_restore_takes_an_id_its_beginning_a_name_or_latest(wire: Wire, cli: Cli) -> None:
    wire.on(f"GET {BELOW}", {"snapshots": [ASIDE, SNAPSHOT]})
    for typed, meant in (
        (SNAPSHOT["id"], SNAPSHOT),
        ("20260102", ASIDE),
        ("kept", ASIDE),
        ("latest", SNAPSHOT),
    ):
        route = f"POST {BELOW}/{meant['id']}/restore"
        wire.on(route, {"head": SNAPSHOT, "saved_first": ASIDE, "receipt": None})
        ran = cli("snapshots", "restore", "My shop", typed, "--yes")
        assert ran.code == 0, ran.err
        assert f"limpet snapshots restore agt_abc123 {ASIDE['id']}" in ran.err
    assert cli("snapshots", "restore", "My shop", "2026", "--yes").code == 5
    assert cli("snapshots", "restore", "My shop", "none", "--yes").code == 4
    assert cli("snapshots", "restore", "My shop", "latest").code == 2, "it must not ask nobody"


def test_a_damaged_snapshot_ends_with_6(wire: Wire, cli: Cli) -> None:
    wire.on(f"POST {BELOW}/{SNAPSHOT['id']}/restore", error(422, "snapshot_damaged"))
    assert cli("snapshots", "restore", "My shop", "latest", "-y").code == 6


def test_export_writes_a_tar_and_replaces_none_unasked(
    wire: Wire, cli: Cli, tmp_path: Path
) -> None:
    wire.on(f"GET {BELOW}/{SNAPSHOT['id']}/export", Answer(b"tar" * 1000))
    target = tmp_path / "out.tar"
    ran = cli("snapshots", "export", "My shop", "latest", "out.tar", "--json")
    assert ran.json == {"file": "out.tar", "size_bytes": 3000, "snapshot": SNAPSHOT["id"]}
    assert target.read_bytes() == b"tar" * 1000
    target.write_bytes(b"mine")
    assert cli("snapshots", "export", "My shop", "latest", "out.tar").code == 2
    assert target.read_bytes() == b"mine"
    assert cli("snapshots", "export", "My shop", "latest", "out.tar", "--force").code == 0
    assert target.read_bytes() == b"tar" * 1000
    assert cli("snapshots", "export", "My shop", "latest", "no/where.tar").code == 2


def test_import_sends_the_file_and_says_where_it_lies(wire: Wire, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "in.tar").write_bytes(b"tar")
    wire.on(f"POST {BELOW}/import", ASIDE)
    ran = cli("snapshots", "import", "My shop", "in.tar")
    assert ran.code == 0
    assert f"limpet snapshots restore agt_abc123 {ASIDE['id']}" in ran.err
    assert wire.last(f"POST {BELOW}/import").body == b"tar"
    wire.on(f"POST {BELOW}/import", error(400, "tar_unsafe", "../x"))
    assert cli("snapshots", "import", "My shop", "in.tar").code == 2
