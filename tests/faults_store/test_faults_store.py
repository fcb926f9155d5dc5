"""A few of what `make faults-store` does thousands of."""

import asyncio
from pathlib import Path

import pytest

from limpet.stores.settings import BUCKET, ENDPOINT, FORCE_PATH_STYLE
from tests.faults_store.proxy import faulty_proxy
from tests.faults_store.races import race
from tests.faults_store.schedules import run_schedules
from tests.stores.s3_server import KEYS, make_bucket, s3_server


def test_over_a_faulty_network_nothing_that_was_acknowledged_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with s3_server() as endpoint, faulty_proxy(endpoint, 1) as (proxy, proxied):
        make_bucket(endpoint, "schedules")
        counts = asyncio.run(
            run_schedules(
                range(3), bucket="schedules", endpoint=endpoint, proxied=proxied, proxy=proxy,
                folder=tmp_path,
            )
        )  # fmt: skip
    assert counts.harmed
    assert counts.verified


def test_of_savers_who_race_one_wins_and_the_others_are_kept() -> None:
    with s3_server() as endpoint:
        make_bucket(endpoint, "races")
        bucket = {**KEYS, BUCKET: "races", ENDPOINT: endpoint, FORCE_PATH_STYLE: "1"}
        raced = race("s3", bucket, 10, racers=3)
    assert raced.wrong == ()
    assert (raced.winners, raced.aside) == (10, 20)
