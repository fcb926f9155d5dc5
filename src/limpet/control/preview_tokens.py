"""What lets somebody see a private preview: tickets, share links and cookies. Pure.

All three are the same signed line of text, `<kind>.<handle>.<epoch>.<until>.<nonce>.<signature>`,
of another kind each, so that none passes for another. They are bound to one sandbox and to its
*epoch*, a number that grows when access is taken away. Nothing in them is secret but the signature.
"""

import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote_plus

from limpet.control.secrets import Signer

Kind = Literal["ticket", "link", "cookie"]

PARAMETER: Final = "limpet_ticket"
"""The query's field that carries a ticket or a link."""
COOKIES: Final = "limpet_preview"
"""How the names of all cookies of ours on preview hosts begin."""
TICKET_S: Final = 60
COOKIE_S: Final = 12 * 3600
MAX_LINK_DAYS: Final = 30
DAY_S: Final = 24 * 3600
PURPOSE: Final = "preview access"

_LETTERS: Final[dict[Kind, str]] = {"ticket": "t", "link": "l", "cookie": "c"}
_KINDS: Final[dict[str, Kind]] = {letter: kind for kind, letter in _LETTERS.items()}
_TOKEN: Final = re.compile(
    r"(?P<signed>(?P<kind>[tlc])\.(?P<handle>[a-z0-9-]{1,48})\.(?P<epoch>0|[1-9][0-9]{0,8})"
    r"\.(?P<until>[1-9][0-9]{0,11})\.(?P<nonce>[A-Za-z0-9_-]{16}))\.(?P<mac>[A-Za-z0-9_-]{43})"
)


@dataclass(frozen=True, slots=True)
class Token:
    """What was signed. `until_s` is a Unix time in whole seconds."""

    kind: Kind
    handle: str
    epoch: int
    until_s: int
    nonce: str

    @property
    def text(self) -> str:
        """The line that is signed."""
        letter = _LETTERS[self.kind]
        return f"{letter}.{self.handle}.{self.epoch}.{self.until_s}.{self.nonce}"


class PreviewTokens:
    """Makes and reads them. `clock` gives Unix time in seconds."""

    def __init__(self, signer: Signer, clock: Callable[[], float] = time.time) -> None:
        self._signer = signer
        self._clock = clock

    def make(self, kind: Kind, handle: str, epoch: int, *, until_s: int) -> str:
        """A fresh one that counts until the Unix time `until_s`."""
        text = Token(kind, handle, epoch, until_s, secrets.token_urlsafe(12)).text
        return f"{text}.{self._signer.sign(text)}"

    def ticket(self, handle: str, epoch: int) -> tuple[str, int]:
        """A ticket for one use, soon, and until when."""
        until_s = self.now_s() + TICKET_S
        return self.make("ticket", handle, epoch, until_s=until_s), until_s

    def link(self, handle: str, epoch: int, days: int) -> tuple[str, int]:
        """What a share link carries, and until when."""
        until_s = self.now_s() + days * DAY_S
        return self.make("link", handle, epoch, until_s=until_s), until_s

    def cookie_of(self, token: Token) -> tuple[str, int]:
        """The cookie that a ticket or a link is worth, and until when: no longer than the link."""
        until_s = self.now_s() + COOKIE_S
        if token.kind == "link":
            until_s = min(until_s, token.until_s)
        return self.make("cookie", token.handle, token.epoch, until_s=until_s), until_s

    def read(self, text: str, kinds: Iterable[Kind], handle: str, epoch: int) -> Token | None:
        """The token in `text` if it is one of `kinds` for this sandbox and counts now."""
        match = _TOKEN.fullmatch(text)
        if match is None or not self._signer.signed(match["signed"], match["mac"]):
            return None
        token = Token(
            _KINDS[match["kind"]],
            match["handle"],
            int(match["epoch"]),
            int(match["until"]),
            match["nonce"],
        )
        counts = (token.handle, token.epoch) == (handle, epoch) and token.until_s > self._clock()
        return token if counts and token.kind in kinds else None

    def now_s(self) -> int:
        """The present, in whole seconds."""
        return int(self._clock())


class UsedTickets:
    """Tickets that were used, for as long as they would count otherwise."""

    def __init__(self) -> None:
        self._until: dict[str, int] = {}

    def use(self, token: Token, now_s: int) -> bool:
        """Whether this is its first use. A link may be used over and over."""
        if token.kind != "ticket":
            return True
        while self._until and next(iter(self._until.values())) < now_s:
            del self._until[next(iter(self._until))]
        if token.nonce in self._until:
            return False
        self._until[token.nonce] = token.until_s
        return True


def cookie_name(handle: str, *, in_tabs: bool = False) -> str:
    """The name of a sandbox's cookie: cookies know no ports, so that each needs a name of its own.

    `in_tabs` is the one that counts in a tab of its own alone.
    """
    return f"{COOKIES}_tab_{handle}" if in_tabs else f"{COOKIES}_{handle}"


def is_ours(name: str) -> bool:
    """Whether a cookie of that name is one of ours on preview hosts."""
    return name == COOKIES or name.startswith(f"{COOKIES}_")


def cookies_named(headers: Iterable[str], names: Iterable[str]) -> Iterator[str]:
    """The values of all cookies of these names: a page of a domain above can add some."""
    wanted = frozenset(names)
    for header in headers:
        for part in header.split(";"):
            name, _, value = part.partition("=")
            if name.strip() in wanted:
                yield value.strip()


def without_ticket(target: str) -> tuple[str, str | None]:
    """A path and query without our field, all else letter by letter; and what the field said.

    Of several fields the last one is given.
    """
    path, mark, query = target.partition("?")
    if not mark:
        return target, None
    said, kept = None, []
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if unquote_plus(name) == PARAMETER:
            said = value
        else:
            kept.append(part)
    if said is None:
        return target, None
    return (f"{path}?{'&'.join(kept)}" if kept else path), said


def with_ticket(target: str, token: str) -> str:
    """A path, query and fragment with `token` in the query, in place of one that is there."""
    before, mark, fragment = target.partition("#")
    before, _ = without_ticket(before)
    joint = "&" if "?" in before else "?"
    return f"{before}{joint}{PARAMETER}={token}{mark}{fragment}"
