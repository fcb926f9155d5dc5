"""Two threads that decode frames and place what they hold, while the stream is read on.

Decompressing, hashing large blobs and writing release the GIL. The queue is short, so that memory
stays flat whatever comes faster.
"""

import queue
import threading
from types import TracebackType
from typing import Final, Self

from limpet.errors import SnapshotDamagedError
from limpet.snapshots.faults import reach
from limpet.snapshots.frame import decode_frame
from limpet.snapshots.placing import Filler, Placing

WORKERS: Final = 2
_WAITING: Final = 8


class FillingThreads:
    """Feed it frames within `with`; leaving it waits until all is placed, or drops what waits.

    An error of a thread is raised by the next `feed`, or at the end.
    """

    def __init__(self, placing: Placing) -> None:
        self._placing = placing
        self._queue: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._error: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._work, name="limpet-restore", daemon=True)
            for _ in range(WORKERS)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def feed(self, frame: bytes) -> None:
        """One frame of data, as it came."""
        if self._error is not None:
            raise self._error
        self._queue.put(frame)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and self._error is None:
            self._error = error
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        if error is None and self._error is not None:
            raise self._error

    def _work(self) -> None:
        filler = Filler(self._placing)
        try:
            while (frame := self._queue.get()) is not None:
                if self._error is not None:
                    continue
                try:
                    decoded = decode_frame(frame)
                    if decoded.kind != "data":
                        raise SnapshotDamagedError("A folder comes after the data")
                    filler.place(decoded)
                    reach("restore-frame")
                except BaseException as error:  # noqa: BLE001 (raised again by who feeds)
                    self._error = error
        finally:
            filler.close()
