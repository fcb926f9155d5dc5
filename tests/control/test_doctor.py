"""The server says what it lacks, as the command does."""

import pytest

from tests.control.live_app import LiveApp

pytestmark = pytest.mark.anyio


async def test_the_server_looks_at_its_own_machine_and_store(live: LiveApp) -> None:
    status, told = await live.api("POST", "/doctor", {"store": True})
    assert status == 200
    findings = {finding["what"]: finding for finding in told["findings"]}
    assert {"python", "git", "isolation", "data folder", "store", "store put"} <= findings.keys()
    assert findings["python"]["verdict"] == "ok"
    assert str(live.limpet.services.settings.data_dir) in findings["data folder"]["found"]


async def test_what_is_missing_is_told_with_its_remedy(
    live: LiveApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    status, told = await live.api("POST", "/doctor", {})
    assert (status, told["ok"]) == (200, False)
    git = next(finding for finding in told["findings"] if finding["what"] == "git")
    assert git["verdict"] == "failed"
    assert "apt install git" in git["remedy"]
    assert not any(finding["what"].startswith("store") for finding in told["findings"])


async def test_figures_are_told_of_what_runs(live: LiveApp) -> None:
    assert await live.api("GET", "/sandbox-figures") == (200, {"figures": []})
