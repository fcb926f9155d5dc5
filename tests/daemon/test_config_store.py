"""The config outlives the daemon, its secrets do not."""

import asyncio
from pathlib import Path

import pytest

from limpet.daemon.config_model import Credentials
from limpet.daemon.config_store import ConfigStore
from limpet.errors import ConflictError, InvalidInputError

pytestmark = pytest.mark.anyio

PATCH = {
    "git": {"repository": {"cloneUrl": "https://user:hunter2@example.com/a", "branch": "main"}},
    "env": {"API_KEY": "sesame"},
}


async def test_a_restart_knows_everything_but_the_secrets(tmp_path: Path) -> None:
    store = ConfigStore(tmp_path)
    assert store.current is None
    assert (await store.apply(PATCH))[0] == "bootstrap"
    assert store.credentials == Credentials("user", "hunter2")
    again = ConfigStore(tmp_path)
    assert again.current is not None
    assert again.current.clone_url == "https://example.com/a"
    assert again.current.branch == "main"
    assert again.needs_credentials
    assert again.missing_env == ["API_KEY"]
    for file in tmp_path.iterdir():
        content = file.read_text()
        assert "hunter2" not in content
        assert "sesame" not in content
        assert file.stat().st_mode & 0o777 == 0o600


async def test_fresh_credentials_are_taken_though_nothing_else_changes(tmp_path: Path) -> None:
    store = ConfigStore(tmp_path)
    await store.apply(PATCH)
    again = ConfigStore(tmp_path)
    transition, _ = await again.apply(
        {
            "git": {"repository": {"cloneUrl": "https://user:fresh@example.com/a"}},
            "env": PATCH["env"],
        }
    )
    assert transition == "env-change"
    assert again.credentials == Credentials("user", "fresh")
    assert not again.needs_credentials
    assert again.missing_env == []


async def test_a_variable_that_is_missing_stays_so_until_it_is_posted_or_taken_away(
    tmp_path: Path,
) -> None:
    await ConfigStore(tmp_path).apply({"env": {"ONE": "sesame", "TWO": "sesame", "TEN": "sesame"}})
    again = ConfigStore(tmp_path)
    await again.apply({"application": {"port": 3000}})
    assert ConfigStore(tmp_path).missing_env == ["ONE", "TEN", "TWO"]
    await again.apply({"env": {"ONE": None, "TWO": "open"}})
    assert again.missing_env == ["TEN"]
    assert again.env == {"TWO": "open"}
    assert ConfigStore(tmp_path).missing_env == ["TEN", "TWO"]


async def test_what_is_refused_changes_nothing(tmp_path: Path) -> None:
    store = ConfigStore(tmp_path)
    await store.apply(PATCH)
    before = store.current
    with pytest.raises(ConflictError):
        await store.apply({"git": {"repository": {"cloneUrl": "https://x:y@other.example/a"}}})
    with pytest.raises(InvalidInputError):
        await store.apply({"application": {"port": 70000}, "env": {"A": "1"}})
    assert store.current == before
    assert store.credentials == Credentials("user", "hunter2")


async def test_of_two_sources_at_once_one_is_taken_and_the_other_refused(tmp_path: Path) -> None:
    store = ConfigStore(tmp_path)
    urls = [f"https://example.com/{n}" for n in range(8)]
    results = await asyncio.gather(
        *(store.apply({"git": {"repository": {"cloneUrl": url}}}) for url in urls),
        return_exceptions=True,
    )
    taken = [result for result in results if isinstance(result, tuple)]
    assert sum(isinstance(result, ConflictError) for result in results) == 7
    assert [transition for transition, _ in taken] == ["bootstrap"]
    assert store.current == ConfigStore(tmp_path).current == taken[0][1]


async def test_patches_compose_in_the_order_of_arrival(tmp_path: Path) -> None:
    store = ConfigStore(tmp_path)
    await asyncio.gather(*(store.apply({"env": {f"A{n}": "1", "LAST": str(n)}}) for n in range(20)))
    assert store.current is not None
    assert len(store.current.env) == 21
    assert store.current.env["LAST"] == "19"


async def test_a_file_that_cannot_be_read_is_as_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"config": {"application": {"port": 99999}}}')
    assert ConfigStore(tmp_path).current is None
