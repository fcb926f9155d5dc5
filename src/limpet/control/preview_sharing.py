"""Who sees a sandbox's preview, as its people set it: access, share links, and the way in.

What is set is kept with the sandbox's row, so that it survives whatever becomes of the sandbox.
Every change that takes access away gives the row another epoch: cookies and links of the one before
count no longer.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from limpet.control.db import SandboxRow
from limpet.control.db.models import utc_now
from limpet.control.preview_address import Asked, PreviewAccess
from limpet.control.preview_door import let_in_at
from limpet.control.preview_tokens import PreviewTokens, with_ticket
from limpet.control.sandboxes.rows import access_of, key_of
from limpet.control.sandboxes.service import SandboxService
from limpet.control.settings import Settings
from limpet.errors import ConflictError, InvalidInputError
from limpet.ids import Handle, OrgId


@dataclass(frozen=True, slots=True)
class Sharing:
    """Who sees a preview; `links_until` is the end of the last link that counts."""

    access: PreviewAccess
    is_default: bool
    links_until: datetime | None


@dataclass(frozen=True, slots=True)
class Way:
    """An address, and until when it lets people in; None: for as long as the preview is open."""

    url: str
    until: datetime | None


class PreviewSharing:
    """Reads and changes it, for one org's sandboxes at a time."""

    def __init__(
        self, sandboxes: SandboxService, tokens: PreviewTokens, settings: Settings
    ) -> None:
        self._sandboxes = sandboxes
        self._tokens = tokens
        self._settings = settings

    async def of(self, org: OrgId, handle: Handle) -> Sharing:
        """Who sees it now, or `NotFoundError`."""
        return self._shown(await self._row(org, handle))

    async def set_access(self, org: OrgId, handle: Handle, access: PreviewAccess) -> Sharing:
        """Let whoever has the address see it, or nobody but who is let in.

        Made private anew, nobody who saw it before does.
        """

        def changed(row: SandboxRow) -> dict[str, Any]:
            closes = access == "private" and self._access(row) == "link"
            taken = _taken_away(row) if closes else {}
            opened = {"preview_links_until": None} if access == "link" else {}
            return {"preview_access": access, **opened, **taken}

        return self._shown(await self._change(org, handle, changed))

    async def share(self, org: OrgId, handle: Handle, *, days: int, at: str | None = None) -> Way:
        """A link with which anybody sees a private preview for `days`, `ConflictError` of another.

        `at` is the address that it leads to; `InvalidInputError` when it is not of this preview.
        """
        row = await self._row(org, handle)
        asked, rest = self._place(row, at)
        made: list[tuple[str, datetime]] = []

        def noted(row: SandboxRow) -> dict[str, Any]:
            if self._access(row) == "link":
                raise ConflictError(
                    "This preview is open to whoever has its address",
                    hint="Pass the address on, or make the preview private first.",
                )
            text, until_s = self._tokens.link(row.handle, row.preview_epoch, days)
            until = datetime.fromtimestamp(until_s, UTC)
            made.append((text, until))
            known = row.preview_links_until
            return {"preview_links_until": max(known, until) if known else until}

        await self._change(org, handle, noted)
        text, until = made[-1]
        return Way(asked.origin + with_ticket(rest, text), until)

    async def unshare(self, org: OrgId, handle: Handle) -> Sharing:
        """End all links, and put out all who see the preview privately; who may, comes in again."""
        return self._shown(await self._change(org, handle, _taken_away))

    async def open(self, org: OrgId, handle: Handle, *, at: str | None = None) -> Way:
        """An address that shows the preview to the caller: with a ticket where it is private."""
        row = await self._row(org, handle)
        asked, rest = self._place(row, at)
        return self._way(row, asked, rest)

    async def open_url(self, org: OrgId, url: str, *, local_port: int | None) -> Way:
        """The same for an address that a browser has, whosever it is; `local_port` is the one at
        which that browser finds us.
        """
        found = self._found(url, local_port)
        if found is None:
            raise InvalidInputError("This is no address of a preview of this server")
        asked, rest = found
        return self._way(await self._row(org, Handle(asked.handle)), asked, rest)

    # -- parts ---------------------------------------------------------------------------------

    def _way(self, row: SandboxRow, asked: Asked, rest: str) -> Way:
        if self._access(row) == "link":
            return Way(asked.origin + rest, None)
        url, until_s = let_in_at(self._tokens, asked, rest, row.preview_epoch)
        return Way(url, datetime.fromtimestamp(until_s, UTC))

    def _place(self, row: SandboxRow, at: str | None) -> tuple[Asked, str]:
        root = self._settings.previews.shown.url(row.handle)
        found = self._found(at or root, self._settings.port)
        if found is None or found[0].handle != row.handle:
            raise InvalidInputError(
                "'at' is no address of this preview", hint=f"They begin as {root} does."
            )
        return found

    def _found(self, url: str, local_port: int | None) -> tuple[Asked, str] | None:
        loopback = self._sandboxes.looking.loopback_urls
        return self._settings.previews.of_url(url, local_port=local_port, loopback=loopback)

    def _access(self, row: SandboxRow) -> PreviewAccess:
        return access_of(row, self._settings.preview_access)

    def _shown(self, row: SandboxRow) -> Sharing:
        until = row.preview_links_until
        access = self._access(row)
        counts = access == "private" and until is not None and until > utc_now()
        return Sharing(access, row.preview_access is None, until if counts else None)

    async def _row(self, org: OrgId, handle: Handle) -> SandboxRow:
        return await self._sandboxes.parts.rows.by_handle(org, handle)

    async def _change(self, org: OrgId, handle: Handle, values: Any) -> SandboxRow:
        key = key_of(await self._row(org, handle))
        row = await self._sandboxes.parts.rows.revise(key, values)
        self._sandboxes.looking.tell(key)
        return row


def _taken_away(row: SandboxRow) -> dict[str, Any]:
    return {"preview_epoch": row.preview_epoch + 1, "preview_links_until": None}
