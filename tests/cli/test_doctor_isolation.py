"""`limpet doctor --isolation`: what a real sandbox gets at, and that the doctor notices it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from limpet.runners.bubblewrap import probe_isolation

TRIED = 13


def doctor(tmp_path: Path, **environ: str) -> tuple[int, dict[str, dict[str, str]]]:
    done = subprocess.run(
        [sys.executable, "-m", "limpet.cli", "doctor", "--isolation", "--json"],
        env={**os.environ, "LIMPET_DATA_DIR": str(tmp_path / "data"), **environ},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    findings = json.loads(done.stdout)["findings"]
    return done.returncode, {finding["what"]: finding for finding in findings}


def test_a_sandbox_gets_at_nothing(tmp_path: Path) -> None:
    if probe_isolation().network != "own":
        pytest.skip("sandboxes are not kept apart here")
    _, found = doctor(tmp_path)
    tried = {what: finding for what, finding in found.items() if what.startswith("tried ")}
    assert len(tried) == TRIED
    assert [what for what, finding in tried.items() if finding["verdict"] != "ok"] == []
    assert found["shut in by"]["found"] == "bubblewrap"


def test_without_isolation_each_door_that_is_open_is_named(tmp_path: Path) -> None:
    code, found = doctor(tmp_path, LIMPET_ISOLATION="none")
    assert code == 1
    for what in (
        "the data folder", "another sandbox's files", "the control plane's environment",
        "processes of this machine", "another sandbox's daemon", "the control plane's port",
    ):  # fmt: skip
        assert found[f"tried {what}"]["verdict"] == "failed", what
        assert found[f"tried {what}"]["found"].startswith("NOT refused: ")
    assert found["shut in by"]["verdict"] == "failed"


def test_settings_that_cannot_be_kept_are_said(tmp_path: Path) -> None:
    code, found = doctor(tmp_path, LIMPET_ISOLATION="none", LIMPET_NETWORK="own")
    assert code == 1
    assert "networks of their own" in found["isolation from inside"]["found"]
