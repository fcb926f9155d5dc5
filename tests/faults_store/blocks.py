"""Blocks of schedules, each for a process of its own."""

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Final

from tests.faults_store import schedules
from tests.faults_store.proxy import faulty_proxy
from tests.snapshots import prune_schedules
from tests.stores.s3_server import KEYS, make_bucket, s3_server

PER_SERVER: Final = 40
"""Schedules of one server: what holds all in memory grows slow."""


def some_schedules(first: int, count: int) -> schedules.Counts:
    """So many schedules over faulty networks, from a seed on."""
    os.environ.update(KEYS)
    total = schedules.Counts()
    for start in range(first, first + count, PER_SERVER):
        seeds = range(start, min(start + PER_SERVER, first + count))
        with (
            s3_server() as endpoint,
            faulty_proxy(endpoint, start) as (proxy, proxied),
            tempfile.TemporaryDirectory(prefix="limpet-store-") as folder,
        ):
            make_bucket(endpoint, "schedules")
            total.add(
                asyncio.run(
                    schedules.run_schedules(
                        seeds, bucket="schedules", endpoint=endpoint, proxied=proxied,
                        proxy=proxy, folder=Path(folder),
                    )
                )
            )  # fmt: skip
    return total


def some_prunes(first: int, count: int) -> prune_schedules.Counts:
    """So many schedules of saves and prunes, from a seed on."""
    return asyncio.run(prune_schedules.run_schedules(range(first, first + count)))
