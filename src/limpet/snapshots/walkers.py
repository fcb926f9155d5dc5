"""Two threads that go through one tree: who has nothing to do is given a part of the other's."""

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Walkers(Generic[T]):
    """Calls `walk` for a first start, and for those that it offers meanwhile, until all is done.

    `discard` gets the starts that are left when a walk raised. While `hungry`, an offer is welcome.
    """

    def __init__(self, walk: Callable[[T], None], discard: Callable[[T], None]) -> None:
        self.hungry = False
        self._walk = walk
        self._discard = discard
        self._turn = threading.Condition()
        self._starts: list[T] = []
        self._busy = 0
        self._second: threading.Thread | None = None
        self._error: BaseException | None = None

    def run(self, first: T) -> None:
        """Until the walk of all starts is over; raises what one of them raised."""
        self._starts.append(first)
        try:
            self._work()
        finally:
            if self._second is not None:
                self._second.join()
            for start in self._starts:
                self._discard(start)
        if self._error is not None:
            raise self._error

    def enlist(self) -> None:
        """The tree is large: let a second thread help, where that makes sense."""
        if self._second is None and (os.cpu_count() or 1) > 1:
            self._second = threading.Thread(target=self._work, name="limpet-walk", daemon=True)
            self._second.start()

    def offer(self, start: T) -> None:
        """Something that another thread may walk."""
        with self._turn:
            self.hungry = False
            self._starts.append(start)
            self._turn.notify()

    @property
    def broken(self) -> bool:
        """Whether a walk raised: there is no use in going on."""
        return self._error is not None

    def _work(self) -> None:
        while True:
            with self._turn:
                while not self._starts and self._busy and self._error is None:
                    self.hungry = True
                    self._turn.wait()
                self.hungry = False
                if self._error is not None or not self._starts:
                    return
                start = self._starts.pop()
                self._busy += 1
            try:
                self._walk(start)
            except BaseException as error:  # noqa: BLE001 - raised again by `run`
                self._error = self._error or error
            with self._turn:
                self._busy -= 1
                self._turn.notify()
