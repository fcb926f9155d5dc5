"""How much of the store each org uses, at hand for every save, and the limit that holds for it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from limpet.errors import LimpetError
from limpet.ids import OrgId
from limpet.snapshots.usage import StoreUsage, usage_of
from limpet.stores.base import SandboxStore

FRESH_FOR = timedelta(minutes=15)


class QuotaExceededError(LimpetError):
    """The org's snapshots take all the room that they may."""

    code = "quota_exceeded"
    status = 507


class OrgUsage:
    """Usage by org, measured now and then and counted on in between. `quota_bytes` None: no limit.

    Every method may raise `StoreUnavailableError`.
    """

    def __init__(self, store: SandboxStore, quota_bytes: int | None) -> None:
        self.quota_bytes = quota_bytes
        self._store = store
        self._known: dict[OrgId, StoreUsage] = {}

    async def of(self, org: OrgId, *, fresh: bool = False) -> StoreUsage:
        """What the org uses; measured anew when that is `fresh` or long ago."""
        known = self._known.get(org)
        if known is None or fresh or datetime.now(UTC) - known.measured_at > FRESH_FOR:
            known = self._known[org] = await usage_of(self._store, org)
        return known

    def added(self, org: OrgId, stored_bytes: int) -> None:
        """A save has put so many bytes."""
        known = self._known.get(org)
        if known is not None:
            self._known[org] = replace(known, stored_bytes=known.stored_bytes + stored_bytes)

    async def require_room(self, org: OrgId) -> None:
        """Raise `QuotaExceededError` when the org's snapshots take as much as they may.

        What is condemned does not count: it goes by itself. One save may go past the limit, the
        one after it is refused.
        """
        if self.quota_bytes is None:
            return
        used = await self.of(org)
        if used.stored_bytes - used.condemned_bytes >= self.quota_bytes:
            raise QuotaExceededError(
                f"The snapshots take {used.stored_bytes - used.condemned_bytes:,} bytes of the "
                f"{self.quota_bytes:,} that they may",
                hint="Delete snapshots, or keep fewer (limpet store retention); or raise "
                "LIMPET_ORG_QUOTA_BYTES. Nothing in the sandbox is lost, it runs on.",
            )
