"""Sites of plain files: what is served, what is not, and how an open page hears of a change."""

from pathlib import Path

import pytest

from tests.daemon.setup.projects import lifecycle, wait_phase
from tests.daemon_process import DaemonProcess


@pytest.fixture
def site(daemon: DaemonProcess, repo: Path) -> DaemonProcess:
    (repo / "index.html").write_text("<html><body><h1>Plain</h1></body></html>")
    (repo / "about.html").write_text("about")
    (repo / "style.css").write_text("h1 {}")
    (repo / "sub").mkdir()
    (repo / "sub/index.html").write_text("below")
    (repo / ".git").mkdir()
    (repo / ".git/config").write_text("secret")
    (repo / "out").symlink_to("/etc")
    daemon.post("/config", {})
    wait_phase(daemon, "running")
    return daemon


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/", 200, b"Plain"),
        ("/about", 200, b"about"),
        ("/sub/", 200, b"below"),
        ("/style.css", 200, b"h1 {}"),
        ("/nothing", 404, b""),
        ("/.git/config", 404, b""),
        ("/sub/../.git/config", 404, b""),
        ("/%2e%2e/%2e%2e/etc/passwd", 404, b""),
        ("/out/passwd", 404, b""),
    ],
)
def test_files_are_served_and_nothing_else_is(
    site: DaemonProcess, path: str, status: int, text: bytes
) -> None:
    answer = site.http.request("GET", f"{site.url}{path}")
    assert answer.status == status, answer.data[:200]
    assert text in answer.data
    assert b"secret" not in answer.data
    assert b"root:" not in answer.data


def test_a_change_is_told_to_an_open_page_and_never_missed(site: DaemonProcess, repo: Path) -> None:
    assert lifecycle(site)["htmlSupport"] is True
    page = site.http.request("GET", f"{site.url}/").data.decode()
    site.http.request("GET", f"{site.url}/style.css")
    assert "since=" in page
    since = page.partition("since=")[2].partition("'")[0]
    (repo / "style.css").write_text("h1 { color: red }")  # before the page listens
    answer = site.http.request(
        "GET", f"{site.url}/.limpet/changes?since={since}", preload_content=False, timeout=20.0
    )
    said = b""
    for chunk in answer.stream(4096):
        said += chunk
        if b"data: changed" in said:
            break
    answer.close()
    fresh = site.http.request("GET", f"{site.url}/style.css", headers={"If-Modified-Since": now()})
    assert fresh.data == b"h1 { color: red }"


def now() -> str:
    from email.utils import formatdate

    return formatdate(usegmt=True)
