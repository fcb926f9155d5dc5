"""An install that fails is shown with its output, and can be tried again from the page."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.live import QUIET_SAVER, LiveLimpet

pytestmark = [pytest.mark.long, pytest.mark.e2e, pytest.mark.e2e_deep, pytest.mark.timeout(240)]


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveLimpet]:
    """A server whose only template does not install until a file is there."""
    template = tmp_path / "templates" / "broken"
    template.mkdir(parents=True)
    (template / "template.json").write_text(
        json.dumps({"name": "broken", "title": "Broken app", "description": "Does not install."})
    )
    scripts = {
        "preinstall": "test -e fixed || { echo the-reason-why >&2; exit 7; }",
        "dev": "node server.js",
    }
    (template / "package.json").write_text(
        json.dumps({"name": "broken", "version": "1.0.0", "private": True, "scripts": scripts})
    )
    (template / "server.js").write_text(
        "require('http').createServer((q, a) => a.setHeader('content-type', 'text/html')"
        ".end('<body><h1>mended</h1></body>')).listen(process.env.PORT, '127.0.0.1', function () {"
        " console.log('Local: http://127.0.0.1:' + this.address().port + '/') })"
    )
    with LiveLimpet.temporary({**QUIET_SAVER, "LIMPET_TEMPLATES_DIR": str(template.parent)}) as up:
        yield up


def test_a_failing_install_is_shown_and_can_be_tried_again(
    live: LiveLimpet, context: BrowserContext
) -> None:
    page = context.new_page()
    assert live.sign_in_url is not None
    page.goto(live.sign_in_url)
    page.get_by_role("button", name="Broken app").click()
    expect(page.get_by_text("the-reason-why").first).to_be_visible(timeout=60_000)
    agent = page.url.split("/agents/")[1].split("?")[0]
    box = live.wait_phase(agent, "install-failed")
    (live.root_of(box["handle"]) / "workspace/repo/fixed").touch()
    page.get_by_role("button", name="Try again").click()
    shown = page.frame_locator('iframe[title="Live preview"]')
    expect(shown.get_by_role("heading", name="mended")).to_be_visible(timeout=60_000)
