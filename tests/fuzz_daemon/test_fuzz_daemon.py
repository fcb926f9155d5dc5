"""A short run of `make fuzz-daemon`: a few requests a route, and each hostile client once."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz_daemon.clients import CLIENTS, Client
from tests.fuzz_daemon.running import Fuzzed, fuzzed_daemon
from tests.fuzz_daemon.schema import fuzz

pytestmark = pytest.mark.long

SEED = 5


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    with fuzzed_daemon(tmp_path_factory.mktemp("fuzz")) as running:
        yield running


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
def test_a_hostile_client_gets_an_answer_and_nothing_else(fuzzed: Fuzzed, client: Client) -> None:
    client(fuzzed, random.Random(SEED))


def test_every_route_answers_as_its_schema_says(tmp_path: Path) -> None:
    with fuzzed_daemon(tmp_path) as fuzzed:
        assert fuzz(fuzzed, 3, SEED) > 200
        assert fuzzed.configured > 0


@pytest.mark.deep
def test_configs_of_every_kind_leave_a_daemon_that_works(tmp_path: Path) -> None:
    with fuzzed_daemon(tmp_path) as fuzzed:
        fuzz(fuzzed, 40, SEED, only="/config")
        assert fuzzed.configured > 10
