"""The main job in containers: made, edited, saved, killed, restored, compared byte for byte."""

from pathlib import Path

import pytest

from tests.live import QUIET_SAVER, LiveLimpet, differences, walk
from tests.runners.engine import DockerEngine
from tests.runners.places import DockerPlace

pytestmark = [pytest.mark.docker, pytest.mark.e2e, pytest.mark.timeout(1500)]


def test_a_web_app_in_a_container_comes_home_after_kill_9(
    engine: DockerEngine, tmp_path: Path
) -> None:
    place = DockerPlace(tmp_path / "data", engine)
    environ = {
        **QUIET_SAVER,
        "LIMPET_RUNNER": "docker",
        "LIMPET_DOCKER_HOST": engine.host,
        "LIMPET_DOCKER_IMAGE": engine.image,
        "LIMPET_TEMPLATE_BUILDS": "0",
    }
    live = LiveLimpet(place.data_dir, environ)
    try:
        live.start()
        agent = live.json("new", "webapp", "--name", "Boxed")["agent"]["id"]
        box = live.wait_phase(agent, "running")
        handle = box["handle"]
        root = place.root(handle)
        assert b'<div id="root">' in live.preview(handle).data
        assert (root / "workspace/repo/node_modules/react").is_dir()
        append = "printf '// by exec\\n' >> src/content.ts && git add -A && uname -n"
        assert live.cli("exec", agent, "--", "sh", "-c", append).strip() == handle

        live.cli("tasks", "kill-all", agent)
        before = walk(root / "workspace")
        saved = live.json("snapshots", "save", agent, "--name", "before the end")
        assert saved["receipt"]["complete"], saved["receipt"]

        live.kill_server()
        assert len(place.running()) == 1
        place.clear()
        assert not root.exists()

        live.start()
        live.cli("start", agent, "--hold", "restored")
        assert live.sandbox(agent)["restore"]["outcome"] == "restored"
        root = place.root(handle)
        assert not differences(before, walk(root / "workspace"))
        live.cli("start", agent)
        live.wait_phase(agent, "running")
        assert b'<div id="root">' in live.preview(handle).data
        installed = live.cli("logs", agent)
        assert "added " not in installed, "it installed again what came home"

        live.cli("rm", agent, "--yes")
        assert not place.running()
        assert live.stop() == 0
    finally:
        live.kill_all()
        place.clear()  # while the data folder still says whose they are
        live.destroy()
