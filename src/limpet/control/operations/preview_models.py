"""Who sees a preview, as the API takes and gives it."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from limpet.control.operations.models import HandleText
from limpet.control.operations.shapes import Input, Output
from limpet.control.preview_address import MAX_URL, PreviewAccess
from limpet.control.preview_tokens import MAX_LINK_DAYS

AtText = Annotated[
    str | None,
    Field(
        default=None,
        max_length=MAX_URL,
        description="An address of this preview, with path and query. Default: its root",
    ),
]


class PreviewRef(Input):
    """The preview of one sandbox."""

    handle: HandleText


class PreviewUpdate(Input):
    """Who sees the preview: with `link` whoever has its address; with `private` who is signed in to
    this Limpet, and who was given a link by PREVIEW_SHARE.

    It stays so over stops, starts and restores. Made private anew, nobody who saw it before does.
    """

    handle: HandleText
    access: PreviewAccess


class PreviewShare(Input):
    """Make a link with which anybody sees a private preview, as often as they like, until it ends.

    PREVIEW_UNSHARE ends all links before their time.
    """

    handle: HandleText
    days: int = Field(default=7, ge=1, le=MAX_LINK_DAYS, description="How long the link counts")
    at: AtText


class PreviewUnshare(Input):
    """End all links to a private preview, and put out everybody who sees it. Who is signed in comes
    in again.
    """

    handle: HandleText


class PreviewOpen(Input):
    """An address that shows the preview to the caller.

    Of a private one it works once, within a minute, and is not for passing on: in the browser that
    opens it, it is worth a cookie for 12 hours.
    """

    handle: HandleText
    at: AtText


class PreviewSharing(Output):
    """Who sees the preview. `is_default`: as the operator has set it for all of which nobody said
    it. `links_until` is the end of the last link that counts; null: there is none.
    """

    access: PreviewAccess
    is_default: bool
    links_until: datetime | None


class PreviewLink(Output):
    """An address that lets in whoever has it, until then."""

    url: str
    until: datetime


class PreviewWay(Output):
    """An address, and until when it works; null: it is the open preview's own."""

    url: str
    until: datetime | None
