"""What a runner must know after a restart, kept in the database, sealed."""

import json

import structlog
from sqlalchemy import Select, delete, select

from limpet.control.db.database import Database
from limpet.control.db.models import RunnerStateRow, utc_now
from limpet.control.secrets import SecretBox, UnsealError
from limpet.ids import Handle
from limpet.runners.base import RunnerKind, SandboxId

PURPOSE = "runner state"


class SealedRunnerState:
    """A `RunnerState` (limpet.runners.base) over the table `runner_states`."""

    def __init__(self, database: Database, secrets: SecretBox, kind: RunnerKind) -> None:
        self._database = database
        self._secrets = secrets
        self._kind = kind

    async def get(self, handle: Handle) -> dict[str, object] | None:
        """What `put` stored last, or None."""
        async with self._database.reading() as session:
            row = await session.scalar(self._rows().where(RunnerStateRow.handle == handle))
        return None if row is None else self._opened(row)

    async def put(self, sandbox: SandboxId, value: dict[str, object]) -> None:
        """Store JSON types for the sandbox."""
        sealed = self._secrets.seal(json.dumps(value), purpose=PURPOSE, org=sandbox.org)
        async with self._database.session() as session:
            await session.merge(
                RunnerStateRow(
                    org_id=sandbox.org,
                    handle=sandbox.handle,
                    runner_kind=self._kind,
                    sealed=sealed,
                    updated_at=utc_now(),
                )
            )

    async def delete(self, handle: Handle) -> None:
        """Forget the sandbox; an unknown one is no error."""
        async with self._database.session() as session:
            await session.execute(
                delete(RunnerStateRow).where(
                    RunnerStateRow.handle == handle, RunnerStateRow.runner_kind == self._kind
                )
            )

    async def list(self) -> list[tuple[Handle, dict[str, object]]]:
        """All that is stored for this kind of runner and can be opened."""
        async with self._database.reading() as session:
            rows = (await session.scalars(self._rows())).all()
        found = []
        for row in rows:
            try:
                found.append((Handle(row.handle), self._opened(row)))
            except UnsealError as error:  # one lost key must not hide all other sandboxes
                structlog.get_logger().error(
                    "runner_state_unreadable", handle=row.handle, error=error.message
                )
        return found

    def _rows(self) -> Select[RunnerStateRow]:
        return select(RunnerStateRow).where(RunnerStateRow.runner_kind == self._kind)

    def _opened(self, row: RunnerStateRow) -> dict[str, object]:
        plain = self._secrets.open(row.sealed, purpose=PURPOSE, org=row.org_id)
        value: dict[str, object] = json.loads(plain)
        return value
