"""The whole main job with an agent that comes from a private git server, not from a template."""

from pathlib import Path

import pytest

from tests.demo import run
from tests.gitserver import GitServer
from tests.live import FAST_SAVER, REPOSITORY, LiveLimpet

pytestmark = [pytest.mark.long, pytest.mark.e2e, pytest.mark.e2e_deep, pytest.mark.timeout(420)]
TEMPLATE = REPOSITORY / "templates" / "webapp"


def files() -> dict[str, str]:
    """A real Vite app's files: the bundled template's."""
    left_out = {"node_modules", "dist", "template.json"}
    return {
        str(path.relative_to(TEMPLATE)): path.read_text()
        for path in sorted(TEMPLATE.rglob("*"))
        if path.is_file() and not left_out.intersection(path.relative_to(TEMPLATE).parts)
    }


def test_a_clone_url_agent_does_the_whole_main_job(tmp_path: Path) -> None:
    with GitServer.start(tmp_path / "git") as server:
        url = server.add_repository("app", files())
        environ = {**FAST_SAVER, **server.environ}
        live = LiveLimpet(tmp_path / "data", environ)
        try:
            run(live, "--clone-url", url)
        finally:
            live.destroy()
        assert server.clone_count == 1, "what was restored was cloned again"
