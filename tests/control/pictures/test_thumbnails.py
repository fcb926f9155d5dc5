"""Thumbnails of real sandboxes: taken after saves, kept in the store, given to their org alone."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from limpet.control.db import AgentRow, OrgRow
from limpet.control.pictures.thumbnails import Thumbnails
from limpet.control.sandboxes.events import SandboxKey
from limpet.control.threads.console import PreviewConsoles
from limpet.control.threads.preview_look import NO_SCREENSHOT
from limpet.control.threads.sandbox_tools import DaemonTools
from limpet.ids import AgentId, Branch, OrgId
from limpet.stores.keys import thumbnail_key
from tests.control.pictures.pages import RED, pixel
from tests.control.sandboxes.live_page import LivePage, live_page

pytestmark = pytest.mark.anyio

SERVER = """
const http = require('http');
const page = `<!doctype html><title>hi</title><style>body{margin:0;background:#f00}</style>
<body><script>document.body.append('hello'); console.error('not well');
  new WebSocket('ws://' + location.host + '/talk').onopen = function () {
    this.send('a message of this page that is long enough to be work ' +
    'if anybody had typed it: ' + 'x'.repeat(100)); };</script></body>`;
const server = http.createServer((q, r) => {
  r.writeHead(q.url === '/' ? 200 : 404, { 'content-type': 'text/html' });
  r.end(page);
});
const crypto = require('crypto');
server.on('upgrade', (q, socket) => {
  const key = q.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
  const accept = crypto.createHash('sha1').update(key).digest('base64');
  socket.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\n' +
    'Connection: Upgrade\\r\\nSec-WebSocket-Accept: ' + accept + '\\r\\n\\r\\n');
  socket.on('error', () => {});
});
server.listen(Number(process.env.PORT || 3000), '127.0.0.1', () =>
  console.log(`Local: http://127.0.0.1:${server.address().port}/`));
"""


@pytest.fixture
async def page(tmp_path: Path, chromium: Path) -> AsyncIterator[LivePage]:
    async with live_page(tmp_path, SERVER, browser=str(chromium), poll_s=3600) as made:
        thumbnails(made)._settles_s = 0.0
        yield made


def thumbnails(page: LivePage) -> Thumbnails:
    return page.app.limpet.services.thumbnails


async def save(page: LivePage) -> None:
    status, saved = await page.app.api(
        "POST", f"/agents/{page.agent}/snapshots", {"name": "for its picture"}
    )
    assert status == 200, saved


async def thumbnail(page: LivePage, agent: str, **headers: str) -> tuple[int, Any, bytes]:
    async with page.app.http.get(
        f"{page.app.url}/api/local/agents/{agent}/thumbnail",
        headers={"Authorization": f"Bearer {page.app.key}", **headers},
    ) as answer:
        return answer.status, answer.headers, await answer.read()


async def shown_at(page: LivePage) -> str | None:
    _, listed = await page.app.api("GET", "/agents")
    (at,) = [one["thumbnail_at"] for one in listed["agents"] if one["id"] == page.agent]
    _, one = await page.app.api("GET", f"/agents/{page.agent}")
    assert one["thumbnail_at"] == at
    return at  # type: ignore[no-any-return]


async def activity(page: LivePage) -> int:
    async with page.daemon("GET", "idle") as answer:
        return int((await answer.json())["activitySeq"])


async def test_a_save_is_pictured_and_the_picture_is_the_orgs_alone(page: LivePage) -> None:
    services = page.app.limpet.services
    assert (await thumbnail(page, page.agent))[0] == 404
    assert await shown_at(page) is None
    await save(page)
    before = await activity(page)
    await thumbnails(page).settle()
    assert await activity(page) == before
    status, headers, image = await thumbnail(page, page.agent)
    assert (status, headers["Content-Type"]) == (200, "image/webp")
    assert (image[:4], image[8:12]) == (b"RIFF", b"WEBP")
    assert headers["Cache-Control"] == "private, no-cache"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert await shown_at(page) is not None

    known = {"If-None-Match": headers["ETag"]}
    status, again, nothing = await thumbnail(page, page.agent, **known)
    assert (status, again["ETag"], nothing) == (304, headers["ETag"], b"")

    other = AgentRow(
        org_id="other", id="agt_theirs", title="Theirs", default_branch="main", created_by="owner"
    )
    async with services.database.session() as session:
        session.add(OrgRow(id="other", slug="other", name="Other"))
        await session.flush()
        session.add(other)
    await services.store.put(thumbnail_key(OrgId("other"), AgentId(other.id)), b"theirs")
    assert (await thumbnail(page, other.id))[0] == 404
    for org, key in (("other", page.app.key), ("local", "no-key")):
        async with page.app.http.get(
            f"{page.app.url}/api/{org}/agents/{other.id}/thumbnail",
            headers={"Authorization": f"Bearer {key}"},
        ) as answer:
            assert answer.status == (404 if org == "other" else 401)

    report = await services.pruner.prune(OrgId("local"))
    assert report is not None
    assert (await thumbnail(page, page.agent))[0] == 200
    key = thumbnail_key(OrgId("local"), AgentId(page.agent))
    assert await services.store.head(key) is not None
    status, told = await page.app.api("DELETE", f"/agents/{page.agent}")
    assert status == 200, told
    assert await services.store.head(key) is None


async def test_an_agent_sees_the_page_and_hears_its_errors(page: LivePage) -> None:
    services = page.app.limpet.services
    row = await services.sandboxes.find_anywhere(page.handle)
    assert row is not None
    key = SandboxKey(OrgId(row.org_id), AgentId(row.agent_id), Branch(row.branch))

    async def revive() -> None:
        raise AssertionError("it runs")

    pictures = services.threads.parts.pictures
    tools = DaemonTools(services.sandboxes, key, PreviewConsoles(), revive, pictures=pictures)
    seen = await tools.preview(screenshot=True)
    assert seen.screenshot_png is not None
    assert pixel(seen.screenshot_png, 600, 600) == RED
    assert list(seen.console_errors) == ["not well"]
    assert NO_SCREENSHOT not in seen.text
    assert (seen.title, seen.text) == ("hi", "hello")
    unpictured = await tools.preview()
    assert unpictured.screenshot_png is None
    assert list(unpictured.console_errors) == ["not well"]
    assert (await tools.preview(path="/gone", screenshot=True)).status == 404


async def test_what_cannot_be_pictured_is_saved_all_the_same(page: LivePage) -> None:
    _, stopped = await page.app.api("POST", f"/sandboxes/{page.handle}/stop", {})
    assert stopped["saved"] is not None
    with capture_logs() as logs:
        await thumbnails(page).settle()
    assert await shown_at(page) is None
    assert [one for one in logs if one["log_level"] == "error"] == []
    box = await page.box()
    assert box["state"] == "stopped"  # nothing woke it


async def test_many_saves_at_once_are_one_picture(
    page: LivePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[SandboxKey] = []
    go_on = asyncio.Event()

    async def take(key: SandboxKey) -> bool:
        taken.append(key)
        await go_on.wait()
        return True

    made = thumbnails(page)
    monkeypatch.setattr(made, "_take", take)
    monkeypatch.setattr(made, "_at_most_every_s", 0.0)
    key = SandboxKey(OrgId("local"), AgentId(page.agent), Branch("main"))
    for _ in range(5):
        made.wanted(key)
    while not taken:
        await asyncio.sleep(0)
    for _ in range(5):
        made.wanted(key)
    go_on.set()
    await made.settle()
    assert taken == [key, key]
