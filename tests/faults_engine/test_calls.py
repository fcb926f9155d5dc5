"""A sample of the failing calls, in every test run; all of them in `make faults-engine`."""

import json

import pytest

from tests.faults_engine import calls

pytestmark = pytest.mark.long


@pytest.mark.deep
@pytest.mark.timeout(200)
def test_promises_hold_whichever_call_kills_or_fails() -> None:
    done = calls.run_under_preload(sample=4, seed=7)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts["held"] == counts["cases"] >= 20
    assert counts["killed"]
    assert counts["refused"]
