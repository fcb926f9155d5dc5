"""Who is asking: API keys, and browsers that signed in through the printed URL.

Keys, cookies and sign-in tokens are random and long; the database holds their SHA-256 alone.
A cookie is only believed from our own pages: previews share the loopback, so a request that
changes something, or opens a WebSocket, must carry our own `Origin`.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection

from limpet.control.db import ApiKeyRow, Database, MembershipRow, OrgRow, SessionRow
from limpet.control.db.models import utc_now
from limpet.errors import ForbiddenError, UnauthorizedError
from limpet.ids import OrgId, UserId, new_id

COOKIE = "limpet_session"
SESSION_LIFE = timedelta(days=30)
KEY_MARK = "lmp"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_HINT = "Open the URL that `limpet serve` printed, or run `limpet open`."


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, in which org, and how we know."""

    org: OrgId
    org_slug: str
    user: UserId
    role: str
    by: Literal["api-key", "session"]


def identity_of(connection: HTTPConnection) -> Identity:
    """Who asks; every request under `/api` and `/mcp` has been authenticated before its route."""
    identity = connection.scope.get("limpet.identity")
    if not isinstance(identity, Identity):
        raise UnauthorizedError("Sign in first", hint=_HINT)
    return identity


class Authenticator:
    """Checks credentials against the database, and makes new ones."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sign_in_digests: set[str] = set()

    async def authenticate(self, connection: HTTPConnection) -> Identity:
        """Who asks. `UnauthorizedError` without valid credentials, `ForbiddenError` when a cookie
        comes with a request that our own pages did not make."""
        scheme, _, bearer = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return await self._by_key(bearer.strip())
        cookie = connection.cookies.get(COOKIE)
        if cookie is None:
            raise UnauthorizedError("Sign in first", hint=_HINT)
        identity = await self._by_cookie(cookie)
        check_origin(connection)
        return identity

    async def has_session(self, connection: HTTPConnection) -> bool:
        """Whether the browser is signed in."""
        cookie = connection.cookies.get(COOKIE)
        if cookie is None:
            return False
        try:
            await self._by_cookie(cookie)
        except UnauthorizedError:
            return False
        return True

    async def _by_key(self, key: str) -> Identity:
        parts = key.split("_")
        prefix = "_".join(parts[:2])
        if len(parts) != 3 or parts[0] != KEY_MARK:
            raise UnauthorizedError("This is no API key of Limpet", hint=_HINT)
        async with self._database.reading() as session:
            row = await session.scalar(select(ApiKeyRow).where(ApiKeyRow.prefix == prefix))
            expected = row.digest if row else _digest("")
            if not hmac.compare_digest(expected, _digest(key)) or row is None or _over(row):
                raise UnauthorizedError("The API key is wrong or has ended", hint=_HINT)
            return await _identity(session, row, "api-key")

    async def _by_cookie(self, cookie: str) -> Identity:
        async with self._database.reading() as session:
            row = await session.scalar(
                select(SessionRow).where(SessionRow.digest == _digest(cookie))
            )
            if row is None or _over(row):
                raise UnauthorizedError("The sign-in has ended", hint=_HINT)
            return await _identity(session, row, "session")

    async def replace_api_key(self, org: OrgId, user: UserId, name: str) -> str:
        """A fresh API key called `name`; an older one of that name ends now."""
        prefix = f"{KEY_MARK}_{secrets.token_hex(6)}"
        key = f"{prefix}_{secrets.token_hex(32)}"
        async with self._database.session() as session:
            await session.execute(
                delete(ApiKeyRow).where(ApiKeyRow.org_id == org, ApiKeyRow.name == name)
            )
            session.add(
                ApiKeyRow(
                    org_id=org,
                    id=new_id("key"),
                    user_id=user,
                    name=name,
                    prefix=prefix,
                    digest=_digest(key),
                )
            )
        return key

    def new_sign_in_token(self) -> str:
        """A token that opens one session, until this process ends."""
        token = secrets.token_urlsafe(32)
        self._sign_in_digests.add(_digest(token))
        return token

    async def sign_in(self, token: str, org: OrgId, user: UserId) -> str | None:
        """The cookie of a new session, or None when the token is wrong or was used before."""
        digest = _digest(token)
        if digest not in self._sign_in_digests:
            return None
        self._sign_in_digests.discard(digest)
        cookie = secrets.token_urlsafe(32)
        now = utc_now()
        async with self._database.session() as session:
            await session.execute(delete(SessionRow).where(SessionRow.expires_at < now))
            session.add(
                SessionRow(
                    org_id=org,
                    digest=_digest(cookie),
                    user_id=user,
                    expires_at=now + SESSION_LIFE,
                )
            )
        return cookie

    async def sign_out(self, cookie: str) -> None:
        """End the cookie's session."""
        async with self._database.session() as session:
            await session.execute(delete(SessionRow).where(SessionRow.digest == _digest(cookie)))


async def _identity(
    session: AsyncSession, row: ApiKeyRow | SessionRow, by: Literal["api-key", "session"]
) -> Identity:
    """Who the row is about, if still a member."""
    found = (
        await session.execute(
            select(OrgRow.slug, MembershipRow.role)
            .join(MembershipRow, MembershipRow.org_id == OrgRow.id)
            .where(OrgRow.id == row.org_id, MembershipRow.user_id == row.user_id)
        )
    ).first()
    if found is None:
        raise UnauthorizedError("You are no member of this org any more")
    return Identity(OrgId(row.org_id), found[0], UserId(row.user_id), found[1], by)


def own_origin(connection: HTTPConnection) -> str:
    """The origin of our pages as this request's browser sees them."""
    scheme = {"ws": "http", "wss": "https"}.get(connection.url.scheme, connection.url.scheme)
    return f"{scheme}://{connection.headers.get('host', '').lower()}"


def check_origin(connection: HTTPConnection) -> None:
    """Refuse what a page of another origin makes a signed-in browser do."""
    origin = connection.headers.get("origin")
    reads = connection.scope["type"] == "http" and connection.scope["method"] in SAFE_METHODS
    if origin is None and reads:
        return
    if origin is None or origin.lower() != own_origin(connection):
        raise ForbiddenError(
            "This request did not come from Limpet's own pages",
            hint="Programs use an API key: `Authorization: Bearer ...`.",
        )


def _over(row: ApiKeyRow | SessionRow) -> bool:
    ends: datetime | None = row.expires_at
    return ends is not None and ends <= utc_now()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
