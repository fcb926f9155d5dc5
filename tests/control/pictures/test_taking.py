"""Pictures by a real Chromium: what they show, and what pages cannot do with the browser."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from limpet.control.pictures import browser as browser_module
from limpet.control.pictures import taking as taking_module
from limpet.control.pictures.browser import Browser, guises
from limpet.control.pictures.errors import (
    NoBrowserError,
    PictureFailedError,
    PicturesBusyError,
)
from limpet.control.pictures.finding import BrowserChoice, choose_browser
from limpet.control.pictures.page import MAX_TEXT_CHARS, PHONE, THUMBNAIL
from limpet.control.pictures.run_folder import PREFIX, RunFolder
from limpet.control.pictures.taking import Pictures
from limpet.runners.egress import EgressPolicy
from limpet.runners.processes import ProcessId, descendants, identify, process_table, wait_ended
from tests.control.pictures.conftest import IMPATIENT, PATIENT, Taking
from tests.control.pictures.pages import HANDLE, RED, SITE, SQUARE, WHITE, Previews, pixel, size_of

pytestmark = [pytest.mark.anyio, pytest.mark.long]
OPEN = EgressPolicy()
ENDED_WITHIN_S = 30


def processes_of(pictures: Pictures) -> set[ProcessId]:
    """The browser's process and all below it."""
    browser = pictures._browser
    assert browser is not None
    pid = browser._process.pid
    first = identify(pid)
    assert first is not None
    return {first, *descendants(process_table(), [pid])}


async def all_ended(processes: set[ProcessId]) -> bool:
    return all([await wait_ended(one, ENDED_WITHIN_S) for one in processes])


async def test_a_page_is_pictured_as_it_looks(taking: Taking) -> None:
    async with taking({"/": SQUARE}) as (pictures, previews):
        picture = await pictures.take(HANDLE, "/", OPEN)
        assert size_of(picture.image) == (1280, 800)
        assert pixel(picture.image, 200, 200) == RED
        assert pixel(picture.image, 50, 200) == WHITE
        assert (picture.status, picture.settled, picture.console_errors) == (200, True, ())
        assert previews.hosts == {SITE.host(HANDLE)}
        phone = await pictures.take(HANDLE, "/", OPEN, PHONE)
        assert size_of(phone.image) == (390, 844)
        thumbnail = await pictures.take(HANDLE, "/", OPEN, THUMBNAIL)
        assert (thumbnail.image[:4], thumbnail.image[8:12]) == (b"RIFF", b"WEBP")
        assert (await pictures.take(HANDLE, "/missing", OPEN)).status == 404


async def test_the_words_that_a_page_s_scripts_draw_are_read(taking: Taking) -> None:
    drawn = "<div id=app></div><script>document.title = 'Drawn'; app.innerHTML = '<h1>%s</h1>'"
    evil = "Object.defineProperty(document, 'title', { get() { for (;;); } })"
    pages = {
        "/": drawn % "Hello</h1><p hidden>unseen</p><p>you" + "</script>",
        "/long": drawn % ("x" * 50_000) + "</script>",
        "/evil": SQUARE + f"<script>{evil}</script>",
        "/odd": drawn % "a" + "; document.body.innerText; String = () => 7</script>",
    }
    async with taking(pages) as (pictures, _):
        told = await pictures.take(HANDLE, "/", OPEN)
        assert (told.title, told.text.split()) == ("Drawn", ["Hello", "you"])
        assert len((await pictures.take(HANDLE, "/long", OPEN)).text) == MAX_TEXT_CHARS
        assert (await pictures.take(HANDLE, "/", OPEN, THUMBNAIL)).text == ""
        held_up = await pictures.take(HANDLE, "/evil", OPEN)
        assert pixel(held_up.image, 200, 200) == RED
        assert (held_up.title, held_up.text) == ("", "")
        assert (await pictures.take(HANDLE, "/odd", OPEN)).text == ""


async def test_what_the_console_shows_as_errors_is_told(taking: Taking) -> None:
    script = "console.log('fine'); console.error('broken', 7); null.x"
    async with taking({"/": f"<script>{script}</script><img src=/lost.png>"}) as (pictures, _):
        errors = (await pictures.take(HANDLE, "/", OPEN)).console_errors
    assert any(error == "broken 7" for error in errors)
    assert any(error.startswith("TypeError: Cannot read properties of null") for error in errors)
    assert any("404" in error and "lost.png" in error for error in errors)
    assert not any("fine" in error for error in errors)


async def test_pictures_share_nothing_and_leave_nothing(
    taking: Taking, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = "<script>console.error(document.cookie || 'none'); document.cookie = 'kept=1'</script>"
    with tempfile.TemporaryDirectory() as own:
        Path(own).chmod(0o711)  # the browser runs as another user
        monkeypatch.setattr(tempfile, "tempdir", own)
        async with taking({"/": page}) as (pictures, _):
            for _look in range(2):
                assert (await pictures.take(HANDLE, "/", OPEN)).console_errors == ("none",)
            processes = processes_of(pictures)
            assert len(processes) > 3
            assert list(Path(own).glob(f"{PREFIX}*"))
        assert await all_ended(processes)
        assert not list(Path(own).iterdir())


async def test_a_browser_with_nothing_to_do_is_ended(taking: Taking) -> None:
    async with taking({"/": SQUARE}, idle_s=0.01) as (pictures, _):
        await pictures.take(HANDLE, "/", OPEN)
        browser = pictures._browser
        if browser is not None:
            async with asyncio.timeout(ENDED_WITHIN_S):
                await browser.tools.ended.wait()
        assert (await pictures.take(HANDLE, "/", OPEN)).status == 200


EVIL = {
    "/hung": "<script>alert(1); for(;;);</script>",
    "/hog": "<script>let a=[];for(;;)a.push(new Uint8Array(2e7).fill(7))</script>",
    "/flood": "<img src=/never><script>const s = 'x'.repeat(1e6);"
    "setInterval(() => { for (let i = 0; i < 20; i++) console.error(s) }, 0)</script>",
    "/leave": "<script>location = 'http://example.invalid/'</script>",
}


@pytest.mark.deep
async def test_evil_pages_end_in_an_error_and_leave_no_process(taking: Taking) -> None:
    async with taking({"/": SQUARE, **EVIL}, bounds=IMPATIENT) as (pictures, _):
        await pictures.take(HANDLE, "/", OPEN)
        for path in ("/never", *EVIL):
            processes = processes_of(pictures)
            with pytest.raises(PictureFailedError) as error:
                await pictures.take(HANDLE, path, OPEN)
            assert error.value.message, path
            if path != "/leave":  # the browser is not to blame, and goes on
                assert await all_ended(processes), path
            assert (await pictures.take(HANDLE, "/", OPEN)).status == 200, path


async def test_a_crash_of_the_page_is_told(taking: Taking) -> None:
    async with taking({"/": SQUARE, "/slow": "<img src=/never>"}) as (pictures, previews):
        await pictures.take(HANDLE, "/", OPEN)
        processes = processes_of(pictures)
        crashing = asyncio.create_task(pictures.take(HANDLE, "/slow", OPEN))
        async with asyncio.timeout(ENDED_WITHIN_S):
            await previews.hung.wait()
        for one in processes_of(pictures):
            if b"--type=renderer" in Path(f"/proc/{one.pid}/cmdline").read_bytes():
                os.kill(one.pid, signal.SIGKILL)
        with pytest.raises(PictureFailedError, match="crashed"):
            await crashing
        assert await all_ended(processes)


@pytest.mark.deep
async def test_pages_that_are_huge_or_loud_are_pictured(taking: Taking) -> None:
    pages = {
        "/giant": "<style>body{margin:0}</style>"
        "<div style='width:100000px;height:1000000px;background:red'></div>",
        "/popups": f"{SQUARE}<script>for(let i=0;i<50;i++)window.open('/giant')</script>",
        "/download": f"{SQUARE}<a href='data:application/x,x' download=evil id=a></a>"
        "<script>document.getElementById('a').click()</script>",
    }
    async with taking(pages, bounds=PATIENT) as (pictures, _):
        for path in pages:
            picture = await pictures.take(HANDLE, path, OPEN)
            assert pixel(picture.image, 200, 200) == RED, path
            assert size_of(picture.image) == (1280, 800)
            assert picture.settled, path
        browser = pictures._browser
        assert browser is not None
        told = await browser.tools.call("Target.getTargets")
        assert [one["url"] for one in told["targetInfos"] if HANDLE in one["url"]] == []
        assert list(browser._profile.rglob("evil*")) == []


async def test_a_page_that_is_never_done_is_pictured(taking: Taking) -> None:
    async with taking({"/": f"{SQUARE}<img src=/never>"}, bounds=IMPATIENT) as (pictures, _):
        picture = await pictures.take(HANDLE, "/", OPEN)
        assert pixel(picture.image, 200, 200) == RED
        assert not picture.settled


@pytest.mark.deep
async def test_whoever_shares_the_browser_with_an_evil_page_gets_a_picture(taking: Taking) -> None:
    pages = {"/": f"{SQUARE}<img src=/never>", "/hog": EVIL["/hog"]}
    async with taking(pages, bounds=IMPATIENT) as (pictures, _):
        evil, good = await asyncio.gather(
            pictures.take(HANDLE, "/hog", OPEN),
            pictures.take(HANDLE, "/", OPEN),
            return_exceptions=True,
        )
        assert isinstance(evil, PictureFailedError)
        assert not isinstance(good, BaseException), good
        assert pixel(good.image, 200, 200) == RED


async def test_more_pictures_than_can_wait_are_refused(
    taking: Taking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking_module, "MOST_WANTED", 1)
    async with taking({"/": SQUARE}) as (pictures, _):
        first = asyncio.create_task(pictures.take(HANDLE, "/", OPEN))
        await asyncio.sleep(0)
        with pytest.raises(PicturesBusyError):
            await pictures.take(HANDLE, "/", OPEN)
        assert (await first).status == 200


# -- the network -------------------------------------------------------------------------------


class Canary(asyncio.DatagramProtocol):
    """Listens where no page may come, for connections and for datagrams."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.heard.append((addr, data))

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.heard.append(writer.get_extra_info("peername"))
            writer.close()

        server = await asyncio.start_server(connected, "0.0.0.0", 0)
        port = server.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", port)
        )
        try:
            yield port
        finally:
            transport.close()
            server.close()


TRYING = """<!doctype html><body><img src=/until-tried><script>
const hosts = HOSTS, tried = [];
for (const host of hosts) {
  tried.push(fetch(`http://${host}/`, {mode: 'no-cors'}).then(() => 0, () => 0));
  for (const [tag, name] of [['img', 'src'], ['script', 'src'], ['iframe', 'src']]) {
    const e = document.createElement(tag);
    tried.push(new Promise(r => { e.onload = e.onerror = r; }));
    e[name] = `http://${host}/${tag}`;
    document.body.append(e);
  }
  tried.push(new Promise(r => { const s = new WebSocket(`ws://${host}/`); s.onclose = r; }));
}
const peer = new RTCPeerConnection({iceServers: [{urls: 'stun:' + hosts[0]}]});
peer.createDataChannel('x');
tried.push(peer.createOffer().then(o => peer.setLocalDescription(o)).then(() =>
  new Promise(r => setTimeout(r, 500))));
Promise.all(tried).then(() => fetch('/tried'));
</script>"""


@pytest.mark.parametrize("own_network", [True, False])
async def test_a_page_reaches_nothing_of_the_operators_machine(
    taking: Taking, monkeypatch: pytest.MonkeyPatch, own_network: bool
) -> None:
    monkeypatch.setattr(browser_module, "OWN_NETWORK", own_network)
    own = socket.gethostbyname(socket.gethostname())
    canary = Canary()
    async with canary.listening() as port:
        names = ("127.0.0.1", "localhost", "other.localhost", "[::1]", "[::ffff:127.0.0.1]",
                 "0.0.0.0", "127.1", own)  # fmt: skip
        hosts = [f"{name}:{port}" for name in names] + ["169.254.169.254", "10.0.0.1"]
        page = TRYING.replace("HOSTS", repr(hosts))
        async with taking({"/": page, "/tried": ""}) as (pictures, previews):
            await pictures.take(HANDLE, "/", OPEN)
            assert "/tried" in previews.asked
            assert pictures._browser is not None
            assert pictures._browser.has_own_network is own_network
            for moved in (f"http://127.0.0.1:{port}/", f"http://{HANDLE}.localhost:{port}/"):
                with contextlib.suppress(PictureFailedError):
                    away = await pictures.take(HANDLE, f"/away?to={moved}", OPEN)
                    assert away.status != 200
        assert canary.heard == []
        socket.create_connection(("127.0.0.1", port)).close()  # it would have heard


# -- the machine -------------------------------------------------------------------------------


async def test_without_a_browser_it_says_so() -> None:
    for choice in (choose_browser("off"), choose_browser("/no/such/browser")):
        async with Pictures.opened(choice, Previews({}).serve, SITE) as pictures:
            assert not pictures.possible
            with pytest.raises(NoBrowserError, match=choice.why_none):
                await pictures.take(HANDLE, "/", OPEN)
    broken = BrowserChoice(Path("/bin/false"))
    async with Pictures.opened(broken, Previews({}).serve, SITE) as pictures:
        with pytest.raises(NoBrowserError, match="/bin/false does not run"):
            await pictures.take(HANDLE, "/", OPEN)


async def test_a_browser_has_neither_roots_rights_nor_the_servers_variables(
    chromium: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMPET_SECRET_KEY", "nobody may see this")
    folder = await asyncio.to_thread(RunFolder)
    browser = await Browser.start(chromium, folder)
    try:
        assert browser.guise == guises()[0]
        assert browser.guise.sandboxed
        place = Path(f"/proc/{browser._process.pid}")
        assert place.stat().st_uid != 0
        assert b"nobody may see this" not in (place / "environ").read_bytes()
    finally:
        await browser.end()
        await asyncio.to_thread(folder.close)


KILLED = """
import asyncio, sys
from pathlib import Path
from limpet.control.pictures.finding import BrowserChoice
from limpet.control.pictures.taking import Pictures
from limpet.runners.egress import EgressPolicy
from tests.control.pictures.pages import HANDLE, SITE, Previews

async def main():
    choice = BrowserChoice(Path(sys.argv[1]))
    previews = Previews({"/": "<script>for(;;);</script>"})
    async with Pictures.opened(choice, previews.serve, SITE) as pictures:
        taking = asyncio.create_task(pictures.take(HANDLE, "/", EgressPolicy()))
        await previews.reached.wait()
        print(pictures._browser._process.pid, pictures._folder.path, flush=True)
        await taking

asyncio.run(main())
"""


async def test_a_killed_control_plane_leaves_no_browser(chromium: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(chromium), stdout=asyncio.subprocess.PIPE, cwd=Path.cwd()
    )
    assert process.stdout is not None
    told = (await process.stdout.readline()).decode().split()
    pid, folder = int(told[0]), Path(told[1])
    first = identify(pid)
    assert first is not None
    processes = {first, *descendants(process_table(), [pid])}
    assert len(processes) > 3
    process.send_signal(signal.SIGKILL)
    await process.wait()
    assert await all_ended(processes)
    assert folder.exists()
    (await asyncio.to_thread(RunFolder)).close()
    assert not folder.exists()
    with contextlib.suppress(ProcessLookupError):
        async with asyncio.timeout(ENDED_WITHIN_S):
            while True:  # there is no event for the end of a group
                os.killpg(pid, 0)
                await asyncio.sleep(0.05)
