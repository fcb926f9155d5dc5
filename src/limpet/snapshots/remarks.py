"""Collects what a save or restore has to tell about single paths, and makes the receipt of it."""

from collections import Counter
from typing import Final, Literal

from limpet.snapshots.receipt import Receipt, Remark
from limpet.snapshots.tar_format import show

LISTED: Final = 100


class Remarks:
    """Lists hold the first 100 of each kind; the counts hold all."""

    def __init__(self) -> None:
        self.skipped: list[Remark] = []
        self.torn: list[Remark] = []
        self.ignored: list[Remark] = []
        self.dropped: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    def count(self, what: str, number: int = 1) -> None:
        """Count something that needs no remark."""
        if number:
            self.counts[what] += number

    def drop(self, what: str) -> None:
        """An attribute that is never carried was there."""
        self.dropped[what] += 1

    def skip(self, path: bytes, reason: str) -> None:
        """An entry of a kind that is never carried."""
        self.counts["skipped"] += 1
        _add(self.skipped, path, reason)

    def unreadable(self, path: bytes, reason: str) -> None:
        """An entry that should have been carried and was not: the save is incomplete."""
        self.counts["unreadable"] += 1
        _add(self.skipped, path, reason)

    def ignore(self, path: bytes, reason: str) -> None:
        """What an ignore file leaves out, or an ignore file itself; counted by who tells."""
        _add(self.ignored, path, reason)

    def tear(self, path: bytes, reason: str) -> None:
        """A file that changed while it was read."""
        self.counts["torn"] += 1
        _add(self.torn, path, reason)

    def receipt(
        self,
        operation: Literal["save", "restore"],
        *,
        entries: int,
        files: int,
        bytes: int,
        duration_ms: int,
        because: tuple[str, ...] = (),
    ) -> Receipt:
        """The receipt; `because` adds reasons why it is not complete."""
        reasons = list(because)
        if self.counts["unreadable"]:
            reasons.append(f"{self.counts['unreadable']} entries could not be read")
        if self.counts["torn"]:
            reasons.append(f"{self.counts['torn']} files changed while they were read")
        return Receipt(
            operation,
            entries=entries,
            files=files,
            bytes=bytes,
            duration_ms=duration_ms,
            complete=not reasons,
            incomplete_because=tuple(reasons),
            skipped=tuple(self.skipped),
            torn=tuple(self.torn),
            ignored=tuple(self.ignored),
            dropped=dict(self.dropped),
            counts=dict(self.counts),
        )


def _add(remarks: list[Remark], path: bytes, reason: str) -> None:
    if len(remarks) < LISTED:
        remarks.append(Remark(show(path), reason))
