"""`/snapshot/create`: the workspace as a stream, a tar or, when the caller takes it, packed.

The packed form is the delta against a state that the caller has.
"""

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from limpet.daemon.context import DaemonContext
from limpet.daemon.snapshots import SnapshotService, base_of, number
from limpet.snapshots.delta import DeltaStream, stream_delta
from limpet.snapshots.media_type import MEDIA_TYPE
from limpet.snapshots.tar_format import Progress
from limpet.snapshots.tar_write import TarStream, stream_tar


class SaveResponse(Response):
    """Streams a save; holds the service's turn until the last byte is out or the client gone.

    `first` is the stream's first chunk: what hinders a save at once was told before this is made.
    """

    def __init__(
        self,
        service: SnapshotService,
        stream: TarStream | DeltaStream,
        first: bytes,
        media_type: str,
        headers: dict[str, str],
    ) -> None:
        super().__init__(media_type=media_type, headers=headers)
        del self.headers["content-length"]
        self._service = service
        self._stream = stream
        self._first = first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send chunk by chunk, reading one ahead. A failure breaks the stream off."""
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._send_chunks(send, gone)
        finally:
            gone.cancel()
            await self._give_back()
        # The turn is free before the client can know that the save has ended.
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_chunks(self, send: Send, gone: "asyncio.Task[None]") -> None:
        sent_bytes = 0
        chunk = self._first
        ahead = self._ahead()
        try:
            while chunk:
                if gone.done():
                    raise ConnectionResetError("the client left in the middle of a save")
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                sent_bytes += len(chunk)
                chunk = await ahead
                ahead = self._ahead() if chunk else ahead
        except BaseException as error:
            self._service.tell("failed", bytes=sent_bytes, error=str(error) or "broken off")
            raise
        finally:
            await asyncio.wait([ahead])
        self._service.tell("done", bytes=sent_bytes, complete=self._stream.receipt.complete)

    async def _give_back(self) -> None:
        try:
            await self._service.run(self._stream.close)
        finally:
            self._service.end()

    def _ahead(self) -> "asyncio.Future[bytes]":
        return self._service.run(self._next)

    def _next(self) -> bytes:
        return next(self._stream, b"")


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def create(ctx: DaemonContext, _: object, request: Request) -> Response:
    """Stream the workspace as a tar, or packed when that is accepted.

    204 when there is nothing and never was.
    """
    service = ctx.snapshots
    service.begin("save")
    try:
        packed = MEDIA_TYPE in request.headers.get("accept", "")
        base = base_of(request)
        limit = number(request.headers.get("x-limpet-limit-bytes"), "X-Limpet-Limit-Bytes")
        ctx.watcher.settle()
        seq = ctx.activity.seq
        await service.origin.saving(seq)
        headers = {
            "X-Limpet-Activity-Seq": str(seq),
            "X-Limpet-Boot-Id": ctx.settings.boot_id,
            "X-Accel-Buffering": "no",
        }
        progress = service.progress("saving")
        stream: TarStream | DeltaStream
        if packed:
            stream = await service.run(lambda: _delta(ctx, base, limit, seq, progress))
        else:
            workspace = ctx.settings.app_root
            stream = await service.run(lambda: stream_tar(workspace, on_progress=progress))
        if stream.empty and service.origin.snapshot is None:
            stream.close()
            service.end()
            return Response(status_code=204, headers=headers)
        service.tell("started", activitySeq=seq)
        first = await service.run(lambda: next(stream))
        media_type = MEDIA_TYPE if packed else "application/x-tar"
        return SaveResponse(service, stream, first, media_type, headers)
    except BaseException:
        service.end()
        raise


def _delta(
    ctx: DaemonContext, base: str | None, limit: int | None, seq: int, progress: Progress
) -> DeltaStream:
    return stream_delta(
        ctx.settings.app_root,
        caches=ctx.snapshots.caches,
        base=base,
        fields={"activity_seq": seq, "boot_id": ctx.settings.boot_id},
        freezer=ctx.snapshots.freezer,
        limit_bytes=limit,
        on_progress=progress,
    )
