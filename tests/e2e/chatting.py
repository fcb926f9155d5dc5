"""A control plane whose model does as it is told, and an agent there with one plain page."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from playwright.sync_api import Page

SERVER = Path(__file__).with_name("chatting_server.py")
PAGE = "<!doctype html><title>Page</title><h1>One</h1>"


@dataclass
class Chatting:
    """A served control plane, and an agent there whose source is one plain page."""

    url: str
    key: str
    sign_in_url: str
    agent: str = ""

    def api(self, method: str, path: str, body: object) -> Any:
        answer = urllib3.request(
            method,
            f"{self.url}/api/local{path}",
            json=body,
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=120.0,
        )
        assert answer.status == 200, answer.data
        return answer.json()

    def open(self, page: Page) -> Page:
        page.goto(f"{self.url}/local/agents/{self.agent}")
        return page


@contextmanager
def serving(folder: Path) -> Iterator[Chatting]:
    """One that serves from `folder` until the block ends."""
    template = folder / "templates" / "page"
    template.mkdir(parents=True)
    (template / "template.json").write_text('{"title": "Page", "description": "A page"}')
    (template / "index.html").write_text(PAGE)
    process = subprocess.Popen(
        [sys.executable, SERVER, folder / "data", folder / "templates"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        told = next(line for line in process.stdout if line.startswith("{"))
        server = Chatting(**json.loads(told))
        provider = {"kind": "openai-compatible", "base_url": "http://127.0.0.1:1/v1"}
        server.api("POST", "/model-providers", {**provider, "models": ["scripted"]})
        server.agent = server.api("POST", "/agents", {"template": "page"})["id"]
        yield server
        server.api("DELETE", f"/agents/{server.agent}", None)
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()
