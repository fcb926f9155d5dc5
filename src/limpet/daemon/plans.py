"""`/snapshot/plan`: what a restore of a snapshot would change here, and what it needs for that.

The workspace is compared with the snapshot's trees while everything runs. The answer names the
contents that no file of this machine holds; a restore that names the plan brings them and patches
the workspace, in time by what differs.
"""

import secrets

from starlette.requests import Request
from starlette.responses import Response

from limpet.daemon.context import DaemonContext
from limpet.daemon.restore import Asked, fed
from limpet.daemon.snapshots import base_of
from limpet.snapshots.media_type import MEDIA_TYPE
from limpet.snapshots.patch import PatchPlan, plan_patch
from limpet.snapshots.swap import new_staging_folder
from limpet.snapshots.wire import StreamWriter


async def plan(ctx: DaemonContext, _: object, request: Request) -> Response:
    """Compare the workspace with the snapshot in the body; `plan` is null when a swap is as good.

    The answer is a `needs` stream.
    """
    service = ctx.snapshots
    with service.turn("restore"):
        asked = Asked.by(request)
        base = base_of(request)
        service.plans.give_up()
        service.tell("planning", total=asked.size_bytes)
        made = await fed(
            service,
            request,
            lambda chunks: plan_patch(
                ctx.settings.app_root,
                chunks,
                caches=service.caches,
                plan_folder=new_staging_folder(ctx.root),
                base=base or service.caches.newest(),
                expect_root=asked.blake3,
            ),
        )
        name = None
        if made.worthwhile:
            name = secrets.token_hex(8)
            service.plans.keep(name, made)
        else:
            service.delete_later(*made.trash)
    return Response(_needs(name, made), media_type=MEDIA_TYPE)


def _needs(name: str | None, made: PatchPlan) -> bytes:
    writer = StreamWriter("needs")
    told = {
        "plan": name,
        "bytes": made.bytes,
        "needs_bytes": made.needs_bytes,
        "changed": made.changed,
        "added": made.added,
        "removed": made.removed,
    }
    hashes = sorted(made.needs) if name is not None else []
    return b"".join([writer.header(told), *writer.hashes(hashes), writer.end({"n": len(hashes)})])
