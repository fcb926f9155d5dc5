"""Operations on who sees a preview; what they mean is limpet.control.preview_sharing's."""

from limpet.control.operations.preview_models import (
    PreviewLink,
    PreviewOpen,
    PreviewRef,
    PreviewShare,
    PreviewSharing,
    PreviewUnshare,
    PreviewUpdate,
    PreviewWay,
)
from limpet.control.operations.registry import Call, Operation
from limpet.ids import Handle


async def get(call: Call, wanted: PreviewRef) -> PreviewSharing:
    """Who sees it."""
    shown = await call.services.previews.of(call.identity.org, Handle(wanted.handle))
    return PreviewSharing.model_validate(shown)


async def update(call: Call, wanted: PreviewUpdate) -> PreviewSharing:
    """Change who sees it."""
    shown = await call.services.previews.set_access(
        call.identity.org, Handle(wanted.handle), wanted.access
    )
    return PreviewSharing.model_validate(shown)


async def share(call: Call, wanted: PreviewShare) -> PreviewLink:
    """Make a link."""
    made = await call.services.previews.share(
        call.identity.org, Handle(wanted.handle), days=wanted.days, at=wanted.at
    )
    return PreviewLink.model_validate(made)


async def unshare(call: Call, wanted: PreviewUnshare) -> PreviewSharing:
    """End all links."""
    shown = await call.services.previews.unshare(call.identity.org, Handle(wanted.handle))
    return PreviewSharing.model_validate(shown)


async def open_(call: Call, wanted: PreviewOpen) -> PreviewWay:
    """An address for the caller."""
    way = await call.services.previews.open(call.identity.org, Handle(wanted.handle), at=wanted.at)
    return PreviewWay.model_validate(way)


OPERATIONS = (
    Operation(
        "PREVIEW_GET",
        "GET",
        "/sandboxes/{handle}/preview",
        PreviewRef,
        PreviewSharing,
        get,
        "Tell who sees a sandbox's preview",
    ),
    Operation(
        "PREVIEW_UPDATE",
        "PATCH",
        "/sandboxes/{handle}/preview",
        PreviewUpdate,
        PreviewSharing,
        update,
        "Make a sandbox's preview private, or open it to whoever has its address",
        destructive=True,
    ),
    Operation(
        "PREVIEW_SHARE",
        "POST",
        "/sandboxes/{handle}/preview/links",
        PreviewShare,
        PreviewLink,
        share,
        "Make a link that shows a private preview to whoever has it",
        destructive=True,
    ),
    Operation(
        "PREVIEW_UNSHARE",
        "DELETE",
        "/sandboxes/{handle}/preview/links",
        PreviewUnshare,
        PreviewSharing,
        unshare,
        "End all links to a private preview, and put out who sees it",
        destructive=True,
    ),
    Operation(
        "PREVIEW_OPEN",
        "POST",
        "/sandboxes/{handle}/preview/open",
        PreviewOpen,
        PreviewWay,
        open_,
        "Get an address that shows a preview to you",
    ),
)
