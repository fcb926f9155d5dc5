"""Leases: at most one control plane at a time may save a sandbox and move its head.

A lease has an owner and an end in the database. Each one taken has a higher fencing number than
every one before it on that branch, and the number goes into each head that is saved under it.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from limpet.control.db import Database, SandboxRow
from limpet.control.sandboxes.events import SandboxKey
from limpet.errors import ConflictError, FencedError, NotFoundError


class LeaseHeldError(ConflictError):
    """Another control plane has this sandbox now."""

    code = "lease_held"


class Leases:
    """The leases of one control plane, `owner`.

    `exclusive`: no other control plane can be alive on this database (it has the only lock on the
    data folder), so a lease that another left behind is taken over at once.
    """

    def __init__(self, db: Database, owner: str, *, ttl_s: float, exclusive: bool) -> None:
        self._db = db
        self.owner = owner
        self._ttl = timedelta(seconds=ttl_s)
        self._exclusive = exclusive

    async def take(self, key: SandboxKey) -> int:
        """The lease's fencing number: the present one if we hold it, else a new, higher one.

        Raises `LeaseHeldError` while another control plane holds it.
        """
        async with self._db.session() as session:
            row = await session.get(SandboxRow, (key.org, key.agent, key.branch))
            if row is None:
                raise NotFoundError(f"There is no sandbox on {key.branch!r}")
            now = datetime.now(UTC)
            ours = row.lease_owner == self.owner
            if not ours and self._is_held(row, now):
                raise LeaseHeldError(
                    "Another Limpet server runs this sandbox",
                    hint="Wait until it lets go, or stop the sandbox there.",
                )
            if not ours:
                row.fencing += 1
                row.lease_owner = self.owner
            row.lease_until = now + self._ttl
            return row.fencing

    async def renew(self, key: SandboxKey) -> int:
        """The fencing number of the lease that we hold, held on; `FencedError` if we lost it."""
        async with self._db.session() as session:
            row = await session.get(SandboxRow, (key.org, key.agent, key.branch))
            if row is None or row.lease_owner != self.owner:
                raise FencedError(
                    "Another Limpet server has taken this sandbox over",
                    hint="Go on there. What is here was not thrown away.",
                )
            row.lease_until = datetime.now(UTC) + self._ttl
            return row.fencing

    async def renew_all(self) -> None:
        """Hold on to every lease of ours on a tracked sandbox."""
        async with self._db.session() as session:
            await session.execute(
                update(SandboxRow)
                .where(SandboxRow.lease_owner == self.owner, SandboxRow.tracked)
                .values(lease_until=datetime.now(UTC) + self._ttl)
            )

    async def release(self, key: SandboxKey) -> None:
        """Let go, if we hold it."""
        async with self._db.session() as session:
            row = await session.get(SandboxRow, (key.org, key.agent, key.branch))
            if row is not None and row.lease_owner == self.owner:
                row.lease_owner = row.lease_until = None

    def _is_held(self, row: SandboxRow, now: datetime) -> bool:
        if row.lease_owner is None or row.lease_until is None or self._exclusive:
            return False
        return row.lease_until > now
