"""Reading tars: judge one without extracting it, or extract it (limpet.snapshots.tar_extract)."""

from dataclasses import dataclass
from typing import Any

from limpet.snapshots.names import TarLimits
from limpet.snapshots.tar_extract import extract_tar
from limpet.snapshots.tar_parse import Nowhere, TarParser

__all__ = ["TarLimits", "TarSummary", "TarVerifier", "extract_tar"]


@dataclass(frozen=True, slots=True)
class TarSummary:
    """What a whole, safe tar holds. `limpet_record` tells whether it carried our record.

    `bytes` counts files' sizes, holes too; `blake3` and `size_bytes` are of the tar itself.
    `receipt_of_save` is the receipt of the save that wrote it (`Receipt.from_dict` takes it).
    """

    entries: int
    files: int
    bytes: int
    blake3: str
    size_bytes: int
    limpet_record: bool
    receipt_of_save: dict[str, Any] | None


class TarVerifier:
    """Judges a tar while it passes by: structure, names, limits and its own digest; no disk.

    `feed` and `finish` raise `TarDamagedError` (cut off, changed, malformed) or `TarUnsafeError`
    (a name, link or entry that could reach outside, or too much of something). Whole tars of
    others pass with `limpet_record` false.
    """

    def __init__(self, limits: TarLimits | None = None) -> None:
        self._parser = TarParser(Nowhere(), limits or TarLimits())

    def feed(self, chunk: bytes) -> None:
        """The next bytes, in pieces of any size."""
        self._parser.feed(chunk)

    def finish(self) -> TarSummary:
        """Say that the tar has ended; gives what it holds."""
        parser = self._parser
        parser.finish()
        receipt = parser.receipt_of_save
        if receipt is not None:
            receipt = {**receipt, "blake3": parser.digest, "size_bytes": parser.size_bytes}
        return TarSummary(
            entries=parser.entries,
            files=parser.files,
            bytes=parser.bytes,
            blake3=parser.digest,
            size_bytes=parser.size_bytes,
            limpet_record=parser.recorded,
            receipt_of_save=receipt,
        )
