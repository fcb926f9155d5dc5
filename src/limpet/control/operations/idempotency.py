"""`Idempotency-Key`: a request that is sent again gets the answer that the first one got.

The table holds digests only: of the key, and, keyed with it, of the input, which may hold secrets.
"""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from weakref import WeakValueDictionary

from pydantic import BaseModel, SecretStr
from sqlalchemy import delete

from limpet.control.auth import Identity
from limpet.control.db import Database, IdempotencyRow
from limpet.control.db.models import utc_now
from limpet.errors import ConflictError, InvalidInputError

HEADER = "Idempotency-Key"
KEPT_FOR = timedelta(days=1)
MAX_LENGTH = 255


class Repeats:
    """Remembers answers for a day; two requests with one key wait for each other."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turns: WeakValueDictionary[tuple[str, ...], asyncio.Lock] = WeakValueDictionary()

    async def once(
        self,
        identity: Identity,
        key: str,
        operation: str,
        given: dict[str, object],
        run: Callable[[], Awaitable[BaseModel]],
        output: type[BaseModel],
    ) -> BaseModel:
        """The answer of `run`, or the remembered one of an equal request with this key.

        `ConflictError` when the key came with another request. A request that failed is not
        remembered.
        """
        if not 0 < len(key) <= MAX_LENGTH or not key.isprintable():
            raise InvalidInputError(f"{HEADER}: 1 to {MAX_LENGTH} printable characters")
        name = hashlib.sha256(key.encode()).hexdigest()
        said = json.dumps([operation, given], sort_keys=True, default=_plain).encode()
        digest = hmac.new(key.encode(), said, "sha256").hexdigest()
        place = (identity.org, identity.user, name)
        async with self._turns.setdefault(place, asyncio.Lock()):
            async with self._database.reading() as session:
                row = await session.get(IdempotencyRow, place)
            if row is not None and utc_now() - row.created_at < KEPT_FOR:
                if not hmac.compare_digest(row.input_digest, digest):
                    raise ConflictError(
                        "This idempotency key was used for another request",
                        hint="Use a fresh key for each thing that you want to happen once.",
                    )
                return output.model_validate(row.answer)
            answer = await run()
            await self._remember(place, operation, digest, answer)
            return answer

    async def _remember(
        self, place: tuple[str, str, str], operation: str, digest: str, answer: BaseModel
    ) -> None:
        org, user, name = place
        old = utc_now() - KEPT_FOR
        async with self._database.session() as session:
            await session.execute(delete(IdempotencyRow).where(IdempotencyRow.created_at <= old))
            session.add(
                IdempotencyRow(
                    org_id=org,
                    user_id=user,
                    key=name,
                    operation=operation,
                    input_digest=digest,
                    answer=answer.model_dump(mode="json"),
                )
            )


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
