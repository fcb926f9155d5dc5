from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.routing import Route
from starlette.testclient import TestClient

from limpet.control.assets import ALWAYS_ASK, FOREVER, WebApp
from limpet.control.errors import install_error_handlers


@pytest.fixture
def built(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<title>The page</title>")
    (folder / "favicon.svg").write_text("<svg/>")
    (folder / "assets" / "index-BxY_3-aZ.js").write_text("let x")
    (tmp_path / "secret.txt").write_text("hunter2")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    return folder


def client(folder: Path) -> TestClient:
    app = FastAPI(routes=[Route("/{path:path}", WebApp(folder).answer, methods=["GET"])])
    install_error_handlers(app)
    return TestClient(app)


@pytest.mark.parametrize(
    ("path", "kind", "caching"),
    [
        ("/assets/index-BxY_3-aZ.js", "text/javascript", FOREVER),
        ("/favicon.svg", "image/svg+xml", ALWAYS_ASK),
        ("/", "text/html", ALWAYS_ASK),
        ("/index.html", "text/html", ALWAYS_ASK),
        ("/local/agents/agt_1", "text/html", ALWAYS_ASK),
    ],
)
def test_files_and_deep_links_with_the_right_caching(
    built: Path, path: str, kind: str, caching: str
) -> None:
    answer = client(built).get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    assert answer.headers["cache-control"] == caching
    assert answer.headers["etag"]


@pytest.mark.parametrize(
    "path",
    [
        "/assets/gone-12345678.js",
        "/assets/gone",
        "/robots.txt",
        "/link.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/%00.txt",
        "/api-old",
    ],
)
def test_what_is_not_there_is_404_and_never_the_page(built: Path, path: str) -> None:
    answer = client(built).get(path)
    assert answer.status_code == 404
    assert "hunter2" not in answer.text


def test_a_missing_build_says_how_to_make_it(tmp_path: Path) -> None:
    answer = client(tmp_path).get("/")
    assert answer.status_code == 503
    assert "make setup" in answer.text
