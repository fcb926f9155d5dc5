"""Who sees previews: whoever has the address, or who is signed in and who has a link."""

from typing import Literal, TypedDict, cast
from urllib.parse import quote

from limpet.sdk.connection import Connection

Access = Literal["link", "private"]


class Sharing(TypedDict):
    """Who sees a preview. `is_default`: as the operator has set it; `links_until`: the end of the
    last link that counts.
    """

    access: Access
    is_default: bool
    links_until: str | None


class Link(TypedDict):
    """An address that lets in whoever has it, until then."""

    url: str
    until: str


class Way(TypedDict):
    """An address, and until when it works; None: it is the open preview's own."""

    url: str
    until: str | None


class Previews:
    """The operations on previews of one org. Every method raises a `LimpetError`."""

    def __init__(self, line: Connection) -> None:
        self._line = line

    def sharing(self, handle: str) -> Sharing:
        """Who sees the sandbox's preview."""
        return cast(Sharing, self._line.send("GET", _path(handle)))

    def set_access(self, handle: str, access: Access) -> Sharing:
        """Make it private, or open it to whoever has its address.

        Made private anew, nobody who saw it before does.
        """
        return cast(Sharing, self._line.send("PATCH", _path(handle), {"access": access}))

    def share(self, handle: str, *, days: int = 7, at: str | None = None) -> Link:
        """A link with which anybody sees a private preview for `days` (30 at most).

        `at` is the address of the preview that it leads to; `ConflictError` where it is open.
        """
        body = {"days": days, **({"at": at} if at else {})}
        return cast(Link, self._line.send("POST", f"{_path(handle)}/links", body))

    def unshare(self, handle: str) -> Sharing:
        """End all links, and put out everybody who sees it; who is signed in comes in again."""
        return cast(Sharing, self._line.send("DELETE", f"{_path(handle)}/links"))

    def open(self, handle: str, *, at: str | None = None) -> Way:
        """An address that shows it in one browser: of a private one once, within a minute."""
        body = {"at": at} if at else {}
        return cast(Way, self._line.send("POST", f"{_path(handle)}/open", body))


def _path(handle: str) -> str:
    return f"/sandboxes/{quote(handle, safe='')}/preview"
