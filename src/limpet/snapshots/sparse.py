"""The tables of sparse files in GNU's formats: which bytes of the file the tar holds. Pure."""

from itertools import pairwise
from typing import Final

from limpet.errors import TarDamagedError, TarUnsafeError
from limpet.snapshots.tar_format import parse_decimal, parse_number

Segments = list[tuple[int, int]]
MAX_SEGMENTS: Final = 1_000_000
_LONGEST_NUMBER: Final = 24


class Table:
    """The table of format 1.0: decimal lines in whole blocks before the data."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._rest = b""

    def take(self, block: bytes) -> Segments | None:
        """One more block; gives the segments once the table is complete."""
        *lines, self._rest = (self._rest + block).split(b"\n")
        for line in lines:
            self._numbers.append(parse_decimal(line))
            if self._numbers[0] > MAX_SEGMENTS:
                raise TarUnsafeError("A sparse file in the tar has too many pieces.")
            if len(self._numbers) == 1 + 2 * self._numbers[0]:
                return in_pairs(self._numbers[1:])
        if len(self._rest) > _LONGEST_NUMBER:
            raise TarDamagedError("The table of a sparse file is damaged.")
        return None


def in_pairs(numbers: list[int]) -> Segments:
    """`offset, length, offset, length...` as segments."""
    if len(numbers) % 2 or len(numbers) > 2 * MAX_SEGMENTS:
        raise TarDamagedError("The table of a sparse file is damaged.")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def old_gnu_pairs(field: bytes, places: int) -> Segments:
    """The segments of an old GNU header (4 places) or its extension (21)."""
    segments = []
    for place in range(places):
        pair = field[24 * place : 24 * place + 24]
        if not any(pair):
            break
        segments.append((parse_number(pair[:12]), parse_number(pair[12:])))
    return segments


def check(segments: Segments, size: int, real_size: int) -> None:
    """Segments must be in order, within the file, and hold as many bytes as the tar has."""
    inside = real_size >= 0 and all(offset >= 0 and length >= 0 for offset, length in segments)
    ordered = all(a[0] + a[1] <= b[0] for a, b in pairwise(segments))
    ends = not segments or segments[-1][0] + segments[-1][1] <= real_size
    if not (inside and ordered and ends and sum(length for _, length in segments) == size):
        raise TarDamagedError("The table of a sparse file is damaged.")
