"""doctor: what is missing is told with its remedy; what is fine is not complained of."""

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, Ran
from tests.sdk.wire import Wire

OFFLINE = {"LIMPET_URL": "", "LIMPET_PORT": "0"}


def findings(ran: Ran) -> dict[str, dict[str, Any]]:
    return {f["what"]: f for f in ran.json["findings"]}


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH of its own: only what a test puts there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("git", "sh"):
        found = shutil.which(tool)
        assert found
        (folder / tool).symlink_to(found)
    return folder


def tool(folder: Path, name: str, says: str, code: int = 0) -> None:
    (folder / name).write_text(f"#!{shutil.which('sh')}\necho '{says}'\nexit {code}\n")
    (folder / name).chmod(0o755)


def test_a_sound_machine_and_store_are_found_sound(cli: Cli, tools: Path) -> None:
    tool(tools, "node", "v22.1.0")
    tool(tools, "npm", "11.0.0")
    ran = cli("doctor", "--store", "--json", env={**OFFLINE, "PATH": str(tools)})
    told = findings(ran)
    assert ran.code == 0, told
    assert ran.json["ok"] is True
    assert told["node"]["found"] == "v22.1.0"
    assert told["python"]["verdict"] == "ok"
    assert [w for w in told if w.startswith("store ")] == [
        "store put", "store get", "store range get", "store head", "store list",
        "store create-only put", "store replace-if put", "store delete",
    ]  # fmt: skip
    assert not list((cli.folder / "data" / "sandbox-snapshots").rglob("probe*"))


def test_missing_tools_and_an_old_node_are_told(cli: Cli, tools: Path) -> None:
    tool(tools, "node", "v18.19.0")
    (tools / "git").unlink()
    tool(tools, "npm", "broken", code=1)
    ran = cli("doctor", "--json", env={**OFFLINE, "PATH": str(tools)})
    told = findings(ran)
    assert ran.code == 1
    assert {w for w, f in told.items() if f["verdict"] == "failed"} == {"node", "npm", "git"}
    assert "too old" in told["node"]["found"]
    assert "Node 20" in told["node"]["remedy"]
    assert told["ripgrep"]["verdict"] == "warning"


def test_no_isolation_is_said_with_its_reason_and_remedy(cli: Cli, tools: Path) -> None:
    told = findings(cli("doctor", "--json", env={**OFFLINE, "PATH": str(tools)}))
    assert "no isolation" in told["isolation"]["found"]
    assert "bubblewrap" in told["isolation"]["remedy"]
    chosen = cli("doctor", "--json", env={**OFFLINE, "LIMPET_ISOLATION": "none"})
    assert "LIMPET_ISOLATION" in findings(chosen)["isolation"]["found"]


def test_with_the_docker_runner_the_engine_is_looked_at(cli: Cli) -> None:
    nobody = f"unix://{cli.folder}/nobody.sock"
    env = {**OFFLINE, "LIMPET_RUNNER": "docker", "LIMPET_DOCKER_HOST": nobody}
    told = findings(cli("doctor", "--json", env=env))
    assert "isolation" not in told
    assert told["docker"]["verdict"] == "failed"
    assert f"no Docker engine answers at {nobody}" in told["docker"]["found"]
    wrong = findings(cli("doctor", "--json", env={**env, "LIMPET_DOCKER_HOST": "here"}))
    assert "LIMPET_DOCKER_HOST" in wrong["docker"]["found"]


def test_a_data_folder_that_cannot_be_used_is_told(cli: Cli) -> None:
    (cli.folder / "data").write_text("a file")
    ran = cli("doctor", "--store", "--json", env=OFFLINE)
    told = findings(ran)
    assert ran.code == 1
    assert told["data folder"]["verdict"] == "failed"
    assert "LIMPET_DATA_DIR" in told["data folder"]["remedy"]
    assert told["store put"]["verdict"] == "failed"


def test_a_data_folder_that_others_can_read_is_told(cli: Cli) -> None:
    folder = cli.folder / "data"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    told = findings(cli("doctor", "--json", env=OFFLINE))["data folder"]
    assert told["verdict"] == "warning"
    assert "chmod 700" in told["remedy"] or "free" in told["found"]


def test_a_taken_port_is_told(cli: Cli) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        env = {**OFFLINE, "LIMPET_PORT": str(taken.getsockname()[1])}
        told = findings(cli("doctor", "--json", env=env))["port"]
    assert told["verdict"] == "warning"
    assert "LIMPET_PORT" in told["remedy"]
    odd = findings(cli("doctor", "--json", env={**OFFLINE, "LIMPET_PORT": "many"}))["port"]
    assert odd["verdict"] == "failed"


def test_an_odd_store_setting_names_its_variable(cli: Cli) -> None:
    env = {**OFFLINE, "SANDBOX_SNAPSHOTS_FORCE_PATH_STYLE": "perhaps"}
    ran = cli("doctor", "--store", "--json", env=env)
    assert ran.code == 1
    assert "SANDBOX_SNAPSHOTS_FORCE_PATH_STYLE" in findings(ran)["store"]["found"]


def test_the_server_is_asked_what_it_is(wire: Wire, cli: Cli) -> None:
    system = {
        "version": "1.2.3", "store": {"kind": "local", "where": "/w"},
        "isolation": {"kind": "none", "reason": "no bwrap"},
    }  # fmt: skip
    wire.on("GET /api/system", system)
    told = findings(cli("doctor", "--json"))["server"]
    assert told["verdict"] == "ok"
    assert "1.2.3" in told["found"]
    assert "no isolation: no bwrap" in told["found"]


def test_a_server_on_a_degraded_store_is_told(wire: Wire, cli: Cli) -> None:
    system = {
        "version": "1.2.3", "store": {"kind": "s3", "where": "s3://b/p", "mode": "degraded"},
        "isolation": {"kind": "bubblewrap", "reason": ""},
    }  # fmt: skip
    wire.on("GET /api/system", system)
    told = findings(cli("doctor", "--json"))["server"]
    assert told["verdict"] == "warning"
    assert "s3://b/p, degraded" in told["found"]
    assert "doctor --store" in told["remedy"]


def test_people_read_marks_and_remedies(cli: Cli, tools: Path) -> None:
    ran = cli("doctor", env={**OFFLINE, "PATH": str(tools)})
    assert "✗ node: not found" in ran.out
    assert "✓ git: git version" in ran.out
    with pytest.raises(json.JSONDecodeError):
        _ = ran.json
