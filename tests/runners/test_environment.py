import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limpet.daemon.config_model import Application, as_document, merge, parse
from limpet.ids import BootId, Handle
from limpet.runners.base import EnsureOptions, Repo, Workload
from limpet.runners.config import config_patch
from limpet.runners.environment import allowed, tool_path
from limpet.runners.processes import ProcessId
from limpet.runners.record import PidFiles, Record

NEEDED = (
    *("LANG", "LC_ALL", "LC_TIME", "TZ", "TERM", "http_proxy", "HTTPS_PROXY", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"),
    *("CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "PIP_CERT", "NPM_CONFIG_REGISTRY", "npm_config_cafile"),
)
KEPT_BACK = (
    *("HOME", "USER", "PATH", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "LIMPET_SECRET_KEY"),
    *("LIMPET_DATA_DIR", "DATABASE_URL", "SANDBOX_SNAPSHOTS_BUCKET", "ANTHROPIC_API_KEY"),
    *("SSH_AUTH_SOCK", "GIT_ASKPASS", "LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH"),
    *("NODE_OPTIONS", "VIRTUAL_ENV", "DAEMON_TOKEN", "XDG_RUNTIME_DIR", "NPM_CONFIG__AUTHTOKEN"),
    *("npm_config__auth", "npm_config__password", "npm_config_otp", "NPM_CONFIG_KEY"),
)


@pytest.mark.parametrize("name", NEEDED)
def test_what_programs_need_comes_through(name: str) -> None:
    assert allowed({name: "x"}) == {name: "x"}


@pytest.mark.parametrize("name", KEPT_BACK)
def test_nothing_else_does(name: str) -> None:
    assert allowed({name: "x"}) == {}


@given(st.dictionaries(st.text(), st.text()))
def test_nothing_is_made_up(environ: dict[str, str]) -> None:
    assert allowed(environ).items() <= environ.items()


def test_the_path_leaves_out_our_own_virtual_environment(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (tmp_path / "link").symlink_to(venv / "bin")
    path = f"{venv}/bin:{tmp_path}/link:/usr/bin::relative:/usr/bin:/bin"
    assert tool_path({"PATH": path}, venv) == ["/usr/bin", "/bin"]
    assert tool_path({"PATH": path}, None)[0] == f"{venv}/bin"
    assert tool_path({}, Path(sys.prefix))


def test_a_config_says_only_what_is_known() -> None:
    assert config_patch(EnsureOptions()) == {"application": {"command": None}}
    assert config_patch(EnsureOptions(workload=Workload(path="web"))) == {
        "application": {"packageManager": {"path": "web"}, "command": None}
    }
    repo = Repo("https://git.example/r", None, "Ann", "", "r")
    assert config_patch(EnsureOptions(repo=repo)) == {
        "git": {
            "repository": {"cloneUrl": "https://git.example/r", "displayName": "r"},
            "identity": {"userName": "Ann"},
        },
        "application": {"command": None},
    }


def test_a_start_command_takes_the_place_of_a_script_and_its_absence_takes_it_away() -> None:
    wanted = config_patch(EnsureOptions(workload=Workload(start_command="node x.js")))
    config, _ = parse(merge({"application": {"script": "serve", "port": 3000}}, wanted))
    assert config.application == Application(port=3000, command="node x.js")
    config, _ = parse(merge(as_document(config), config_patch(EnsureOptions())))
    assert config.application == Application(port=3000)


RECORD = Record(
    Handle("calm-1"),
    "http://127.0.0.1:1",
    "s3cret",
    BootId("b"),
    "bubblewrap",
    ProcessId(5, "x/1"),
    ProcessId(6, "x/2"),
)


def test_a_record_comes_back_as_it_was_and_does_not_show_its_token() -> None:
    assert Record.from_dict(RECORD.handle, RECORD.as_dict()) == RECORD
    assert "s3cret" not in repr(RECORD)
    assert "s3cret" not in str(RECORD.processes_dict())


@pytest.mark.parametrize("broken", [{}, {"pid": "5"}, {"pid": 5}, {"isolation": "odd"}])
def test_a_record_that_is_not_sound_is_none(broken: dict[str, object]) -> None:
    assert Record.from_dict(Handle("h"), broken) is None


def test_pid_files_come_back_and_broken_ones_go(tmp_path: Path) -> None:
    files = PidFiles(tmp_path / "pids")
    assert files.all() == []
    files.write(RECORD)
    (tmp_path / "pids/broken.json").write_text("{")
    (tmp_path / "pids/.calm-1.left").write_text("half")
    assert [record.processes for record in files.all()] == [RECORD.processes]
    assert [file.name for file in (tmp_path / "pids").iterdir()] == ["calm-1.json"]
    assert "s3cret" not in (tmp_path / "pids/calm-1.json").read_text()
    files.delete(RECORD.handle)
    files.delete(RECORD.handle)
    assert files.all() == []
