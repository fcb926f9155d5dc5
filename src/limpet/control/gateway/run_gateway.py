"""The gateway of a run: each request from its sandbox judged, sent to the provider, and counted.

The key is put in here and never goes in. Nothing is asked again by the gateway itself.
"""

import asyncio
import hmac
import io
import secrets
import urllib.request
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Final, Self

import aiohttp
from yarl import URL

from limpet.control.gateway.ledger import Ledger
from limpet.control.gateway.protocols import (
    Dialect,
    Prepared,
    Target,
    answered_headers,
    asked_headers,
    error_body,
    key_headers,
    models_body,
    prepared,
    target_of,
    token_of,
)
from limpet.control.gateway.scrubbing import KeyScrubber, without_key
from limpet.control.gateway.usage import UsageReader
from limpet.errors import InvalidInputError
from limpet.harness.base import ModelChoice
from limpet.harness.tools import Spent
from limpet.runners.daemon_gateway import Asked, TooLargeError

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
MAX_HELD_BYTES: Final = 64 * 1024 * 1024
MAX_IN_FLIGHT: Final = 16
BODY_WITHIN_S: Final = 120.0
CONNECT_WITHIN_S: Final = 15.0
SILENCE_S: Final = 900.0
"""How long a model may think without a word."""
_BIG_BODY_BYTES: Final = 64 * 1024
_DO_NOT_RETRY: Final = ("x-should-retry", "false")


class RefusedError(Exception):
    """The gateway answers a request itself."""

    def __init__(self, status: int, words: str, *, for_good: bool = False) -> None:
        super().__init__(words)
        self.status = status
        self.words = words
        self.for_good = for_good


class RunGateway:
    """A `ModelGateway`. `answer` is for the reverse stream of the run's sandbox."""

    def __init__(
        self, choice: ModelChoice, dialect: Dialect, ledger: Ledger, http: aiohttp.ClientSession
    ) -> None:
        self.token = secrets.token_urlsafe(32)
        self.url = ""
        self._choice = choice
        self._dialect: Dialect = dialect
        self._ledger = ledger
        self._http = http
        self._in_flight = 0
        self._held_bytes = 0

    def spent(self) -> Spent:
        """See `ModelGateway`."""
        return self._ledger.spent()

    def refused(self) -> str | None:
        """See `ModelGateway`."""
        return self._ledger.refused

    async def answer(self, asked: Asked) -> None:
        """Answer one request from inside."""
        try:
            await self._judged(asked)
        except RefusedError as error:
            await self._refuse(asked, error)

    async def _refuse(self, asked: Asked, error: RefusedError) -> None:
        if asked.begun:
            await asked.break_off()
            return
        headers = [("content-type", "application/json")]
        if error.for_good:
            headers.append(_DO_NOT_RETRY)
        await asked.begin(error.status, headers)
        await asked.send(error_body(self._dialect, error.status, error.words))
        await asked.end()

    async def _judged(self, asked: Asked) -> None:
        if not hmac.compare_digest(token_of(asked.headers).encode(), self.token.encode()):
            raise RefusedError(401, "This is not the token of a run that goes on.", for_good=True)
        if asked.method == "GET" and asked.path == "/v1/models" and self._dialect == "openai":
            await asked.begin(200, [("content-type", "application/json")])
            await asked.send(models_body(self._choice.name))
            await asked.end()
            return
        target = (
            target_of(self._choice, self._dialect, asked.path) if asked.method == "POST" else None
        )
        if target is None:
            raise RefusedError(404, "The gateway hands through requests to the model alone.")
        self._hold_to_caps(target)
        with self._one_of_few():
            body = await self._body(asked)
            with self._held(len(body)):
                try:
                    wanted = await _prepared(body, target, self._choice.name)
                except InvalidInputError as error:
                    raise RefusedError(400, f"{error.message}.") from error
                self._hold_to_caps(target)
                await self._forward(asked, target, wanted)

    def _hold_to_caps(self, target: Target) -> None:
        if target.flavor != "count" and (words := self._ledger.refusal()) is not None:
            # 400, since clients take 401 and 403 for a matter of signing in, and ask 429 again.
            raise RefusedError(400, words, for_good=True)

    @contextmanager
    def _one_of_few(self) -> Iterator[None]:
        if self._in_flight >= MAX_IN_FLIGHT:
            raise RefusedError(429, f"{MAX_IN_FLIGHT} requests of this run are open already.")
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    @contextmanager
    def _held(self, size: int) -> Iterator[None]:
        if self._held_bytes + size > MAX_HELD_BYTES:
            raise RefusedError(413, "The run's open requests are too large together.")
        self._held_bytes += size
        try:
            yield
        finally:
            self._held_bytes -= size

    async def _body(self, asked: Asked) -> bytes:
        try:
            async with asyncio.timeout(BODY_WITHIN_S):
                return await asked.body(MAX_BODY_BYTES)
        except TooLargeError as error:
            raise RefusedError(413, f"{error.message}.") from error
        except TimeoutError as error:
            raise RefusedError(408, "The request's body did not come in time.") from error

    # -- the provider --------------------------------------------------------------------------

    async def _forward(self, asked: Asked, target: Target, wanted: Prepared) -> None:
        headers = {
            **asked_headers(asked.headers),
            **key_headers(self._choice, self._dialect),
            "accept-encoding": "identity",
        }
        with _Counting(self._ledger, target, len(wanted.body)) as counting:
            try:
                async with self._http.post(
                    URL(target.url, encoded=True),
                    data=io.BytesIO(wanted.body),
                    headers=headers,
                    allow_redirects=False,
                    proxy=_proxy_for(target.url),
                ) as answer:
                    await self._hand_back(asked, wanted, answer, counting)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                if not asked.begun:
                    counting.takes_nothing()
                words = "took too long" if isinstance(error, TimeoutError) else "cannot be reached"
                raise RefusedError(502, f"The model's provider {words}.") from error

    async def _hand_back(
        self,
        asked: Asked,
        wanted: Prepared,
        answer: aiohttp.ClientResponse,
        counting: "_Counting",
    ) -> None:
        if not 200 <= answer.status < 300:
            counting.takes_nothing()
        if 300 <= answer.status < 400:
            raise RefusedError(502, "The model's provider sends elsewhere: check its base URL.")
        if answer.status == 401:
            words = "The model's provider refuses the key. Check it in the settings of models."
            raise RefusedError(401, words, for_good=True)
        streams = answer.content_type == "text/event-stream"
        reader = counting.read(streams=streams, hides_usage=wanted.hides_usage)
        key = self._choice.api_key
        headers = answered_headers(answer.headers.items())
        await asked.begin(answer.status, [(n, without_key(value, key)) for n, value in headers])
        scrubber = KeyScrubber(key)
        async for chunk in answer.content.iter_any():
            passed = reader.feed(chunk)
            counting.look()
            if passed := scrubber.feed(passed):
                await asked.send(passed)
        rest = scrubber.feed(reader.end()) + scrubber.end()
        counting.whole()
        if rest:
            await asked.send(rest)
        await asked.end()


class _Counting:
    """Sees to it that a request is counted once, also where its answer is cut off.

    It is counted before whoever asked has the end of the answer, and may ask again.
    """

    def __init__(self, ledger: Ledger, target: Target, asked_bytes: int) -> None:
        self._ledger = ledger
        self._flavor = target.flavor
        self._asked_bytes = asked_bytes
        self._reader = UsageReader(target.flavor, streams=True)
        self._done = target.flavor == "count"

    def __enter__(self) -> Self:
        if not self._done:
            self._ledger.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._count(self._reader.estimated(self._asked_bytes))

    def read(self, *, streams: bool, hides_usage: bool) -> UsageReader:
        """What reads the answer that begins now."""
        self._reader = UsageReader(self._flavor, streams=streams, hides_usage=hides_usage)
        return self._reader

    def look(self) -> None:
        """Count it if the answer has told all."""
        if self._reader.complete:
            self._count(self._reader.usage)

    def whole(self) -> None:
        """The answer has come to its end, whatever it told."""
        self._count(self._reader.usage)

    def takes_nothing(self) -> None:
        """The provider has refused it, or was never reached."""
        self._done = True

    def _count(self, told: Mapping[str, object]) -> None:
        if not self._done:
            self._done = True
            self._ledger.count(self._flavor, told)


async def _prepared(body: bytes, target: Target, model: str) -> Prepared:
    if len(body) < _BIG_BODY_BYTES:
        return prepared(body, target.flavor, model)
    return await asyncio.to_thread(prepared, body, target.flavor, model)


def _proxy_for(url: str) -> str | None:
    """This machine's proxy for a URL; of its environment nothing else is used, no netrc either."""
    asked = URL(url)
    if urllib.request.proxy_bypass(asked.host or ""):
        return None
    return urllib.request.getproxies().get(asked.scheme)


@asynccontextmanager
async def run_gateway(
    choice: ModelChoice, dialect: Dialect, ledger: Ledger
) -> AsyncGenerator[RunGateway]:
    """A gateway that is not yet reached from anywhere: its `url` is for the caller to set."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_WITHIN_S, sock_read=SILENCE_S)
    async with aiohttp.ClientSession(
        timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    ) as http:
        yield RunGateway(choice, dialect, ledger, http)
