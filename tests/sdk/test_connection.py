"""Where the server is, and its errors as ours."""

import json
import socket
from pathlib import Path

import pytest

from limpet import errors
from limpet.errors import LimpetError, UnreachableError
from limpet.sdk import Client, NotRunningError, NotServingError, Place, ServerError, discover
from limpet.sdk.connection import error_of
from tests.sdk.wire import Answer, Wire, error


def announce(folder: Path, url: str = "http://127.0.0.1:1", key: str = "k") -> None:
    folder.mkdir(exist_ok=True)
    (folder / "server.json").write_text(json.dumps({"url": url, "pid": 1, "api_key": key}))


def test_the_environment_comes_first(tmp_path: Path) -> None:
    announce(tmp_path)
    env = {
        "LIMPET_URL": "https://l.example/",
        "LIMPET_API_KEY": "a",
        "LIMPET_DATA_DIR": str(tmp_path),
    }
    assert discover(env) == Place("https://l.example", "a")


def test_else_what_the_server_on_this_machine_wrote_down(tmp_path: Path) -> None:
    announce(tmp_path / "d", "http://127.0.0.1:7171/")
    assert discover({"LIMPET_DATA_DIR": str(tmp_path / "d")}) == Place("http://127.0.0.1:7171", "k")
    assert discover({"LIMPET_URL": "http://x"}, tmp_path / "d").url == "http://127.0.0.1:7171"
    with Client.discover({}, tmp_path / "d"):
        pass


def test_nothing_there_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(NotServingError, match="No Limpet is serving") as told:
        discover({"LIMPET_DATA_DIR": str(tmp_path)})
    assert "limpet serve" in told.value.hint
    assert told.value.exit_code == 3


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"url": "x"}'])
def test_a_broken_announcement_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "server.json").write_text(content)
    with pytest.raises(NotServingError):
        discover({"LIMPET_DATA_DIR": str(tmp_path)})


@pytest.mark.parametrize(
    "env", [{"LIMPET_URL": "http://x"}, {"LIMPET_URL": "ftp://x", "LIMPET_API_KEY": "a"}]
)
def test_half_an_environment_is_an_error(env: dict[str, str]) -> None:
    with pytest.raises((errors.UnauthorizedError, errors.InvalidInputError), match="LIMPET_URL"):
        discover(env)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "not_found", errors.NotFoundError),
        (409, "fenced", errors.FencedError),
        (503, "store_unreachable", errors.StoreUnavailableError),
        (422, "snapshot_damaged", errors.SnapshotDamagedError),
        (507, "no_space", errors.NotEnoughSpaceError),
        (400, "bad_clone_url", errors.InvalidInputError),
        (409, "superseded", errors.ConflictError),
        (409, "not_running", NotRunningError),
        (502, "daemon_error", errors.DaemonError),
        (500, "internal", ServerError),
        (418, "teapot", ServerError),
    ],
)
def test_errors_keep_their_code_message_and_hint(
    status: int, code: str, kind: type[LimpetError]
) -> None:
    body = {"error": {"code": code, "message": "went wrong", "hint": "do this"}}
    made = error_of(status, json.dumps(body).encode())
    assert isinstance(made, kind)
    assert made.as_dict() == body["error"]
    assert made.exit_code == kind.exit_code


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": "text"}', b'{"detail": 1}'])
def test_an_answer_in_another_shape_is_still_told(body: bytes) -> None:
    made = error_of(502, body)
    assert isinstance(made, ServerError)
    assert "502" in made.message


def test_a_wrong_key_is_told(wire: Wire) -> None:
    with Client(Place(wire.url, "wrong")) as client, pytest.raises(errors.UnauthorizedError):
        client.agents()


def test_no_server_at_all_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with Client(Place(f"http://127.0.0.1:{port}", "k")) as client:
            with pytest.raises(NotServingError):
                client.agents()
            with pytest.raises(NotServingError):
                next(iter(client.events("a")))


def test_an_answer_that_breaks_off_is_not_taken_for_no_server(wire: Wire, client: Client) -> None:
    wire.on("GET /agents", Answer(b"{", headers={"Content-Length": "10"}, cut=True))
    with pytest.raises(UnreachableError) as told:
        client.agents()
    assert not isinstance(told.value, NotServingError)


def test_a_redirect_is_not_followed_with_the_key(wire: Wire, client: Client) -> None:
    wire.on("GET /agents", Answer({}, 302, {"Location": "http://elsewhere.invalid/"}))
    with pytest.raises(ServerError):
        client.agents()


def test_ids_cannot_change_the_path(wire: Wire, client: Client) -> None:
    wire.on("GET /agents/..%2F..%2Fsystem", error(404, "not_found"))
    with pytest.raises(errors.NotFoundError):
        client.agent("../../system")
    assert wire.asked[-1].path == "/api/local/agents/..%2F..%2Fsystem"
