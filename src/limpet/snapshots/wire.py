"""The framed stream: how a delta goes to the control plane and packs come back.

One pass, in flat memory, ended by a BLAKE3 of all before it: a stream that was cut off or changed
never ends well (docs/format.md, 'The stream'). Sans I/O: writers give bytes, readers are fed them.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from blake3 import blake3

from limpet.errors import InvalidInputError, SnapshotDamagedError
from limpet.snapshots.blobs import HASH_BYTES, BlobHash
from limpet.snapshots.frame import MAX_FRAME_BYTES

Flow = Literal["save", "restore", "plan", "needs"]
MAGIC: Final = b"LSTREAM1"
MAX_HEADER_BYTES: Final = 64 << 10
MAX_END_BYTES: Final = 1 << 20
MAX_HASHES: Final = 32_768
_RECORD: Final = struct.Struct("<B3sI")
_HEADER, _FRAME, _END, _HASHES = 1, 2, 3, 4
_LIMITS: Final = {
    _HEADER: MAX_HEADER_BYTES,
    _FRAME: MAX_FRAME_BYTES,
    _END: MAX_END_BYTES,
    _HASHES: HASH_BYTES * MAX_HASHES,
}


@dataclass(frozen=True, slots=True)
class StreamHeader:
    """The first record: which flow this is, and what the JSON says beside it."""

    flow: Flow
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StreamFrame:
    """One frame, as it lies in packs; not decoded yet."""

    data: bytes


@dataclass(frozen=True, slots=True)
class StreamHashes:
    """Names of blobs."""

    hashes: tuple[BlobHash, ...]


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """The last record's JSON; given only when the digest after it was right."""

    fields: dict[str, Any]


StreamRecord = StreamHeader | StreamFrame | StreamHashes | StreamEnd


class StreamBrokenError(SnapshotDamagedError):
    """The stream was cut off, changed on its way, or is none."""

    code = "stream_broken"
    status = 422


class StreamWriter:
    """Encodes records in order; the caller sends what each call gives."""

    def __init__(self, flow: Flow) -> None:
        self._flow: Flow = flow
        self._digest = blake3()

    def header(self, fields: Mapping[str, Any]) -> bytes:
        """The magic and the first record."""
        self._digest.update(MAGIC)
        return MAGIC + self._record(_HEADER, _json({"flow": self._flow, **fields}))

    def frames(self, *frames: bytes | memoryview) -> bytes:
        """Frames, a record each."""
        parts: list[bytes | memoryview] = []
        for frame in frames:
            parts += self._parts(_FRAME, frame)
        return b"".join(parts)

    def hashes(self, hashes: "list[BlobHash]") -> Iterator[bytes]:
        """Names of blobs, as many records as they need."""
        for first in range(0, len(hashes), MAX_HASHES):
            yield self._record(_HASHES, b"".join(hashes[first : first + MAX_HASHES]))

    def end(self, fields: Mapping[str, Any]) -> bytes:
        """The last record and the digest: the stream is whole."""
        last = self._record(_END, _json(fields))
        return last + self._digest.digest()

    def _record(self, kind: int, payload: bytes) -> bytes:
        return b"".join(self._parts(kind, payload))

    def _parts(self, kind: int, payload: bytes | memoryview) -> tuple[bytes, bytes | memoryview]:
        assert len(payload) <= _LIMITS[kind]
        head = _RECORD.pack(kind, bytes(3), len(payload))
        self._digest.update(head)
        self._digest.update(payload)
        return head, payload


class StreamReader:
    """Takes the stream in whatever pieces it comes and gives its records.

    `feed` raises `StreamBrokenError` at the first byte that cannot be; `finish` when the end or
    its digest did not come. `expected` names the flows that are welcome.
    """

    def __init__(self, *expected: Flow) -> None:
        self._expected = expected
        self._digest = blake3()
        self._buffer = bytearray()
        self._state: Literal["magic", "header", "body", "digest", "done"] = "magic"
        self._flow: Flow | None = None
        self._end: StreamEnd | None = None

    def feed(self, data: bytes) -> Iterator[StreamRecord]:
        """The records that are whole now. Iterate to the end before feeding again."""
        self._buffer += data
        while True:
            record = self._next()
            if record is None:
                return
            yield record

    def finish(self) -> None:
        """The other side has ended: `StreamBrokenError` unless the stream has."""
        if self._state != "done":
            raise StreamBrokenError("The stream was cut off", hint="Try again.")

    def _next(self) -> StreamRecord | None:
        if self._state == "magic" and not self._take_magic():
            return None
        if self._state == "digest":
            return self._take_digest()
        if self._state == "done":
            if self._buffer:
                raise StreamBrokenError("Something follows the end of the stream")
            return None
        if len(self._buffer) < _RECORD.size:
            return None
        kind, zeros, length = _RECORD.unpack_from(self._buffer)
        self._judge(kind, zeros, length)
        total = _RECORD.size + length
        if len(self._buffer) < total:
            return None
        with memoryview(self._buffer) as view:
            self._digest.update(view[:total])
            payload = bytes(view[_RECORD.size : total])
        del self._buffer[:total]
        return self._record(kind, payload)

    def _take_magic(self) -> bool:
        start = bytes(self._buffer[: len(MAGIC)])
        if not MAGIC.startswith(start):
            raise StreamBrokenError("What came is no snapshot stream")
        if len(start) < len(MAGIC):
            return False
        self._digest.update(MAGIC)
        del self._buffer[: len(MAGIC)]
        self._state = "header"
        return True

    def _take_digest(self) -> StreamRecord | None:
        if len(self._buffer) < HASH_BYTES:
            return None
        if bytes(self._buffer[:HASH_BYTES]) != self._digest.digest():
            raise StreamBrokenError("The stream was changed on its way")
        del self._buffer[:HASH_BYTES]
        self._state = "done"
        end, self._end = self._end, None
        return end

    def _judge(self, kind: int, zeros: bytes, length: int) -> None:
        first = self._state == "header"
        if zeros != bytes(3) or kind not in _LIMITS or first != (kind == _HEADER):
            raise StreamBrokenError("The stream holds a record that cannot be there")
        if kind == (_FRAME if self._flow == "needs" else _HASHES):
            raise StreamBrokenError("The stream holds a record that cannot be there")
        if length > _LIMITS[kind]:
            raise StreamBrokenError("The stream holds a record that is too large")
        if kind == _HASHES and length % HASH_BYTES:
            raise StreamBrokenError("The stream holds half a hash")

    def _record(self, kind: int, payload: bytes) -> StreamRecord | None:
        if kind == _FRAME:
            return StreamFrame(payload)
        if kind == _HASHES:
            steps = range(0, len(payload), HASH_BYTES)
            return StreamHashes(tuple(BlobHash(payload[at : at + HASH_BYTES]) for at in steps))
        fields = _fields(payload)
        if kind == _END:
            self._end = StreamEnd(fields)
            self._state = "digest"
            return self._take_digest()
        flow = fields.pop("flow", None)
        if flow not in self._expected:
            raise InvalidInputError(f"A stream of flow {flow!r} is not what belongs here")
        self._flow = flow
        self._state = "body"
        return StreamHeader(flow, fields)


def _json(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def _fields(payload: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise StreamBrokenError("A record of the stream is not JSON") from error
    if not isinstance(fields, dict):
        raise StreamBrokenError("A record of the stream is no JSON object")
    return fields
