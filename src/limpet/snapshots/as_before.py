"""Which folders of a workspace are listed as a cache says: found out for all, outside of Python.

Most folders are, in nearly every save. Each of these costs the kernel's answers and a comparison,
and then Python need not list it. Two threads take the rows in turns, some hundred at a time.
"""

import os
import threading
from collections.abc import Callable
from itertools import count, takewhile
from typing import Final

from limpet.snapshots.ignoring import IGNORE_FILE
from limpet.snapshots.native import compare_listings
from limpet.snapshots.statcache import StatCache

_AT_ONCE: Final = 256
_OBJECTS: Final = b"/objects/"


def folders_as_before(cache: StatCache, root_fd: int, go_on: Callable[[], None]) -> bytes:
    """For each row of the cache 1 where the folder of that path is listed as the row says, else 0.

    Nothing for a cache of a workspace with ignore files: what they leave out no listing tells.
    `go_on` is called now and then, in any thread; what it raises is raised.
    """
    if cache.mentions(IGNORE_FILE):
        return b""
    paths = [path for path, _ in cache.rows()]
    # What git names must be listed after what names it; the rows are in that order.
    late = sum(1 for _ in takewhile(lambda path: _OBJECTS in b"/%b/" % path, reversed(paths)))
    same = bytearray(len(paths))
    _compare(cache, root_fd, paths, 0, len(paths) - late, same, go_on)
    _compare(cache, root_fd, paths, len(paths) - late, len(paths), same, go_on)
    return bytes(same)


def _compare(
    cache: StatCache,
    root_fd: int,
    paths: list[bytes],
    first: int,
    end: int,
    same: bytearray,
    go_on: Callable[[], None],
) -> None:
    listings = cache.listings
    starts = count(first, _AT_ONCE)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            while not errors and (start := next(starts)) < end:
                go_on()
                some = paths[start : min(start + _AT_ONCE, end)]
                found = compare_listings(root_fd, some, listings, start)
                same[start : start + len(some)] = found
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    second = threading.Thread(target=work, name="limpet-compare", daemon=True)
    helped = end - first > _AT_ONCE and (os.cpu_count() or 1) > 1
    if helped:
        second.start()
    work()
    if helped:
        second.join()
    if errors:
        raise errors[0]
