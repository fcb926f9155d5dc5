"""Two readers of the same bytes, ours and the oracle, and bytes to ask both about."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from hypothesis import strategies as st

from limpet.errors import InvalidInputError, SnapshotDamagedError
from tests.snapshots.oracle import RefusedError

T = TypeVar("T")
REFUSED = "refused"


def ours(read: Callable[[], T]) -> T | str:
    """What our reader gives; `REFUSED` when it raises what a reader may raise."""
    try:
        return read()
    except (SnapshotDamagedError, InvalidInputError):
        return REFUSED


def oracles(read: Callable[[], T]) -> T | str:
    """What the oracle gives, or `REFUSED`."""
    try:
        return read()
    except RefusedError:
        return REFUSED


@st.composite
def broken(draw: st.DrawFn, whole: bytes) -> bytes:
    """The bytes with one thing changed: a bit, a number, a piece lost, doubled, put in."""
    at = draw(st.integers(0, max(0, len(whole) - 1)))
    length = draw(st.integers(1, 40))
    match draw(st.sampled_from(["bit", "byte", "number", "cut", "lose", "double", "insert"])):
        case "bit":
            return _put(whole, at, bytes([whole[at] ^ 1 << draw(st.integers(0, 7))]))
        case "byte":
            return _put(whole, at, draw(st.binary(min_size=1, max_size=1)))
        case "number":
            at -= at % 4
            number = int.from_bytes(whole[at : at + 4], "little")
            other = draw(st.sampled_from([0, number + 1, max(0, number - 1), 2**31, 2**32 - 1]))
            return _put(whole, at, (other % 2**32).to_bytes(4, "little"))[: len(whole)]
        case "cut":
            return whole[:at]
        case "lose":
            return whole[:at] + whole[at + length :]
        case "double":
            return whole[: at + length] + whole[at:]
        case _:
            return whole[:at] + draw(st.binary(min_size=1, max_size=8)) + whole[at:]


def _put(whole: bytes, at: int, piece: bytes) -> bytes:
    return whole[:at] + piece + whole[at + len(piece) :]


def every_flip(whole: bytes, *, step: int = 1) -> Iterator[tuple[int, bytes]]:
    """The bytes with each bit flipped in turn, and where; every `step`th of them."""
    for bit in range(0, 8 * len(whole), step):
        at, within = divmod(bit, 8)
        yield bit, _put(whole, at, bytes([whole[at] ^ 1 << within]))
