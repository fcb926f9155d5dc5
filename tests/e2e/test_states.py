"""Pages in states that no ordinary server shows: looked at as every page is, with a picture."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, StorageState

from tests.e2e.looking import LOOKS, SIZES, Look, look_at, signed_in, window
from tests.e2e.pages import DETACHED, EMPTY_HOME
from tests.live import QUIET_SAVER, LiveLimpet

pytestmark = [pytest.mark.long, pytest.mark.e2e, pytest.mark.e2e_deep, pytest.mark.timeout(240)]


@dataclass(frozen=True)
class Served:
    """A server, and what a browser keeps that has signed in there."""

    live: LiveLimpet
    state: StorageState
    agent: str = ""


def served(browser: Browser, live: LiveLimpet, agent: str = "") -> Served:
    assert live.sign_in_url is not None
    return Served(live, signed_in(browser, live.sign_in_url), agent)


@pytest.fixture(scope="module")
def fresh(browser: Browser) -> Iterator[Served]:
    """A server that nobody has used."""
    with LiveLimpet.temporary(QUIET_SAVER) as live:
        yield served(browser, live)


@pytest.fixture(scope="module")
def detached(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One whose sandbox had to start without its saved work: the store was away, and is back."""
    template = tmp_path_factory.mktemp("templates") / "page"
    template.mkdir()
    (template / "template.json").write_text('{"title": "Tide table", "description": "A page"}')
    (template / "index.html").write_text("<!doctype html><title>Page</title><h1>Low tide</h1>")
    environ = {
        **QUIET_SAVER,
        "LIMPET_STORE_WAIT_S": "1",
        "LIMPET_TEMPLATES_DIR": str(template.parent),
    }
    with LiveLimpet.temporary(environ) as live:
        agent = live.api("POST", "/agents", {"template": "page"})["id"]
        handle = live.api("POST", "/vm/start", {"virtualMcpId": agent})["vmId"]
        page: Path = live.root_of(handle) / "workspace/repo/index.html"
        page.write_text("<h1>Saved</h1>")
        live.api("POST", f"/agents/{agent}/snapshots", {})
        live.api("POST", "/vm/delete", {"virtualMcpId": agent})
        store = live.data_dir / "sandbox-snapshots"
        away = store.rename(live.data_dir / "away")
        live.api("POST", "/vm/start", {"virtualMcpId": agent, "withoutSnapshot": True})
        live.wait_phase(agent, "running")
        assert live.sandbox(agent)["detached"]
        shutil.rmtree(store, ignore_errors=True)
        away.rename(store)
        yield served(browser, live, agent)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("look", LOOKS)
def test_a_home_without_agents_shows_how_to_begin(
    fresh: Served, browser: Browser, look: Look, size: str
) -> None:
    with window(browser, fresh.state, look, size) as page:
        look_at(page, fresh.live.url + EMPTY_HOME.path, EMPTY_HOME, look, size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("look", LOOKS)
def test_a_detached_sandbox_says_so(
    detached: Served, browser: Browser, look: Look, size: str
) -> None:
    with window(browser, detached.state, look, size) as page:
        url = detached.live.url + DETACHED.path.format(agent=detached.agent)
        look_at(page, url, DETACHED, look, size)
