"""Caches lie beside the workspace: they can be had again, and would double what is saved."""

from pathlib import Path

from limpet.daemon.children import child_environment
from limpet.daemon.settings import DaemonSettings


def test_caches_are_not_in_the_workspace_and_home_is(tmp_path: Path) -> None:
    settings = DaemonSettings.from_environ(
        {"DAEMON_TOKEN": "t", "APP_ROOT": str(tmp_path / "root/workspace")}
    )
    env = child_environment(settings)
    workspace = tmp_path / "root/workspace"
    assert Path(env["HOME"]).is_relative_to(workspace)
    for name in ("XDG_CACHE_HOME", "npm_config_cache", "BUN_INSTALL_CACHE_DIR"):
        assert Path(env[name]).is_relative_to(tmp_path / "root/scratch"), name


def test_a_cache_that_somebody_chose_stays(tmp_path: Path) -> None:
    settings = DaemonSettings.from_environ(
        {
            "DAEMON_TOKEN": "t",
            "APP_ROOT": str(tmp_path / "root/workspace"),
            "npm_config_cache": "/somewhere",
        }
    )
    assert child_environment(settings)["npm_config_cache"] == "/somewhere"
