"""Blocks of schedules, each for a process of its own."""

import asyncio
import os
import tempfile
from pathlib import Path

from tests.faults_store import schedules
from tests.faults_store.proxy import faulty_proxy
from tests.snapshots import prune_schedules
from tests.stores.s3_server import KEYS, make_bucket, s3_server


def some_schedules(first: int, count: int) -> schedules.Counts:
    """So many schedules over a faulty network, from a seed on."""
    os.environ.update(KEYS)
    with (
        s3_server() as endpoint,
        faulty_proxy(endpoint, first) as (proxy, proxied),
        tempfile.TemporaryDirectory(prefix="limpet-store-") as folder,
    ):
        make_bucket(endpoint, "schedules")
        return asyncio.run(
            schedules.run_schedules(
                range(first, first + count), bucket="schedules", endpoint=endpoint,
                proxied=proxied, proxy=proxy, folder=Path(folder),
            )
        )  # fmt: skip


def some_prunes(first: int, count: int) -> prune_schedules.Counts:
    """So many schedules of saves and prunes, from a seed on."""
    return asyncio.run(prune_schedules.run_schedules(range(first, first + count)))
