"""A sandbox that had to start without its saved work: the page says so, and leads back to it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.accessible import assert_accessible
from tests.live import QUIET_SAVER, LiveLimpet

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveLimpet]:
    """A server whose only template is one plain page, and which soon asks about a store."""
    template = tmp_path / "templates" / "page"
    template.mkdir(parents=True)
    (template / "template.json").write_text('{"title": "Page", "description": "A page"}')
    (template / "index.html").write_text("<!doctype html><title>Page</title><h1>Bare</h1>")
    environ = {
        **QUIET_SAVER,
        "LIMPET_STORE_WAIT_S": "1",
        "LIMPET_TEMPLATES_DIR": str(template.parent),
    }
    with LiveLimpet.temporary(environ) as up:
        yield up


@pytest.mark.e2e_deep
def test_the_saved_work_comes_back_and_the_other_is_kept_aside(
    page: Page, live: LiveLimpet
) -> None:
    agent = live.api("POST", "/agents", {"template": "page"})["id"]
    handle = live.api("POST", "/vm/start", {"virtualMcpId": agent})["vmId"]
    file = live.root_of(handle) / "workspace/repo/index.html"
    file.write_text("<h1>Saved</h1>")
    live.api("POST", f"/agents/{agent}/snapshots", {"name": "all of it"})
    live.api("POST", "/vm/delete", {"virtualMcpId": agent})
    store = live.data_dir / "sandbox-snapshots"
    away = store.rename(live.data_dir / "away")

    page.goto(f"{live.url}/local/agents/{agent}")
    asked = page.get_by_role("dialog", name="The saved work cannot be reached just now")
    expect(asked).to_be_visible(timeout=90_000)
    assert_accessible(page)
    asked.get_by_role("button", name="Start without the snapshot").click()
    banner = page.get_by_role("region", name="This sandbox is detached")
    expect(banner).to_be_visible(timeout=90_000)
    expect(banner).to_contain_text("The saved work is untouched.")
    preview = page.frame_locator('iframe[title="Live preview"]')
    expect(preview.get_by_role("heading", name="Bare")).to_be_visible(timeout=60_000)
    assert_accessible(page)

    shutil.rmtree(store, ignore_errors=True)
    away.rename(store)
    (live.root_of(handle) / "workspace/repo/index.html").write_text("<h1>Meanwhile</h1>")
    banner.get_by_role("button", name="Go back to the saved work").click()
    page.get_by_role("button", name="Go back to it").click()
    expect(banner).to_have_count(0, timeout=90_000)
    expect(preview.get_by_role("heading", name="Saved")).to_be_visible(timeout=90_000)
    expect(page.get_by_role("region", name="There is work that was saved aside")).to_be_visible()
    assert_accessible(page)
