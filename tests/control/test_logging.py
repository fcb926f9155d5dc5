import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from limpet.control.logging import configure_logging, without_secrets
from limpet.control.settings import Settings

KEY = "lmp_0123456789ab_" + "c" * 64


@pytest.fixture(autouse=True)
def _configured() -> Iterator[None]:
    before, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = before
    logging.root.setLevel(level)


@pytest.mark.parametrize(
    "text",
    [
        "cloning https://me:hunter2@host/repo failed",
        "cloning https://hunter2@host/repo",
        f"Authorization: Bearer {KEY} was refused",
        "header was 'bearer hunter2'",
        f"key {KEY}",
        "GET /sign-in?token=hunter2",
        "http://127.0.0.1:7070/sign-in?x=1&token=hunter2 opened",
    ],
)
def test_what_may_be_a_secret_is_blotted_out(text: str) -> None:
    shown = without_secrets(text)
    assert "hunter2" not in shown
    assert "c" * 8 not in shown
    assert "[hidden]" in shown


def test_plain_texts_stay() -> None:
    for text in ("https://host/a@b", "no secret here", "lmp_0123", "?tokens=1", ""):
        assert without_secrets(text) == text


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_way_of_logging_shows_a_secret(capsys: pytest.CaptureFixture[str], form: str) -> None:
    configure_logging(Settings(log_format=form))  # type: ignore[arg-type]
    log = structlog.get_logger()
    log.info("x", password="hunter2", api_key="hunter2", daemon_token="hunter2")
    log.info("x", headers={"Authorization": "hunter2"}, tried=["https://u:hunter2@h/r"])
    log.info("https://u:hunter2@h/r")
    try:
        local_secret = "hunter" + str(2)
        raise ValueError(f"https://u:{local_secret}@h/r")
    except ValueError:
        log.exception("crashed")
        logging.getLogger("a.library").exception("crashed at https://u:%s@h/r", local_secret)
    logging.getLogger("a.library").warning("https://u:hunter2@h/r")
    shown = capsys.readouterr().err
    assert "hunter2" not in shown
    assert shown.count("crashed") == 2
    assert "ValueError" in shown


def test_json_lines_can_be_parsed(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_format="json"))
    structlog.get_logger().info("saved", sandbox="s-1", bytes=3)
    logging.getLogger("a.library").warning("careful")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["event"], first["sandbox"], first["bytes"]) == ("saved", "s-1", 3)
    assert (second["event"], second["level"]) == ("careful", "warning")
