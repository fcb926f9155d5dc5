"""The agent at the other end: asking it, and saying in words what went wrong with it."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from acp import PROTOCOL_VERSION, RequestError, schema
from acp.connection import Connection
from acp.meta import AGENT_METHODS
from pydantic import BaseModel, JsonValue, ValidationError

from limpet import __version__
from limpet.errors import LimpetError
from limpet.harness.acp import Waits
from limpet.harness.acp.client import CAPABILITIES
from limpet.harness.acp.environment import variables_set
from limpet.harness.acp.wire import Wire
from limpet.harness.base import CappedError, ModelError
from limpet.harness.tools import ModelGateway, PipedProcess, SandboxTools, ToolFailedError

AUTH_REQUIRED: Final = -32000
MAX_SAID_CHARS: Final = 800
_END_S: Final = 1.0
_BY_KEY: Final = ("api-key", "api_key", "apikey")
M = TypeVar("M", bound=BaseModel)


@dataclass
class Peer:
    """An agent that is spoken to. `name` is what it calls itself."""

    connection: Connection
    wire: Wire
    process: PipedProcess
    tools: SandboxTools
    waits: Waits
    gateway: ModelGateway | None
    name: str = "The agent"
    can: schema.AgentCapabilities = field(default_factory=schema.AgentCapabilities)
    methods: Sequence[Any] = ()

    async def greet(self) -> None:
        """Agree on the protocol's version. `ModelError` where there is none to agree on."""
        params = {
            "protocolVersion": PROTOCOL_VERSION,
            "clientCapabilities": _dumped(CAPABILITIES),
            "clientInfo": {"name": "limpet", "title": "Limpet", "version": __version__},
        }
        try:
            told = await self.ask(AGENT_METHODS["initialize"], params, within_s=self.waits.start_s)
        except RequestError as error:
            raise await self.refusal(error) from None
        answer = self.understood(schema.InitializeResponse, told)
        if answer.protocol_version != PROTOCOL_VERSION:
            raise ModelError(
                f"The agent speaks version {answer.protocol_version} of the Agent Client Protocol, "
                f"and we speak {PROTOCOL_VERSION}. Take another version of the agent."
            )
        if answer.agent_info is not None:
            self.name = (answer.agent_info.title or answer.agent_info.name)[:80]
        self.can = answer.agent_capabilities or self.can
        self.methods = answer.auth_methods or ()

    async def ask(
        self, method: str, params: dict[str, Any], *, within_s: float | None
    ) -> JsonValue:
        """A request's answer.

        Raises `RequestError` where the agent says no, and `ModelError` (or `CappedError`) where it
        has ended, or says nothing for too long.
        """
        try:
            async with asyncio.timeout(within_s):
                answer: JsonValue = await self.connection.send_request(method, params)
                return answer
        except TimeoutError:
            raise ModelError(
                f"{self.name} did not answer to {method} within {within_s:g} s.{self._said()}"
            ) from None
        except ConnectionError:
            raise await self._gone() from None

    async def tell(self, method: str, params: dict[str, Any]) -> None:
        """A notification; `ConnectionError` when the agent has ended."""
        await self.connection.send_notification(method, params)

    def understood(self, model: type[M], answer: JsonValue) -> M:
        """An answer as what it should be; `ModelError` where it is not."""
        try:
            return model.model_validate(answer if isinstance(answer, dict) else {})
        except ValidationError as error:
            fields = ", ".join("/".join(map(str, one["loc"])) for one in error.errors()[:5])
            raise ModelError(
                f"{self.name} does not keep to the protocol: {model.__name__}, {fields}."
            ) from None

    async def signed_in(self) -> bool:
        """Authenticate in a way that needs nobody: by a key that the environment has already."""
        for method in self.methods:
            if isinstance(method, schema.EnvVarAuthMethod):
                needed = [one.name for one in method.vars if not one.optional]
                if await variables_set(self.tools, needed) >= set(needed):
                    return await self._authenticated(method.id)
            elif isinstance(method, schema.AuthMethodAgent) and _by_key(method.id):
                return await self._authenticated(method.id)
        return False

    async def _authenticated(self, method: str) -> bool:
        params = {"methodId": method}
        try:
            await self.ask(AGENT_METHODS["authenticate"], params, within_s=self.waits.session_s)
        except RequestError:
            return False
        return True

    async def refusal(self, error: RequestError) -> Exception:
        """What a request's refusal means for the run."""
        if self.gateway is not None and (why := self.gateway.refused()) is not None:
            return CappedError(why)
        if error.code == AUTH_REQUIRED:
            return ModelError(self._needs())
        words = str(error)
        if (details := _details(error.data)) and details not in words:
            words = f"{words}: {details}"
        return ModelError(f"{self.name} says: {self._masked(words)[:MAX_SAID_CHARS]}")

    def _needs(self) -> str:
        """What to set, so that the agent need not be signed in by hand."""
        names = [
            " and ".join(one.name for one in method.vars if not one.optional)
            for method in self.methods
            if isinstance(method, schema.EnvVarAuthMethod)
        ]
        named = [name for name in names if name]
        how = f"set {' or '.join(named)} as a secret" if named else "set its key as a secret"
        return (
            f"{self.name} is not signed in: {how} (`limpet secrets set NAME --agent AGENT`) and "
            "start the sandbox again, or choose a model."
        )

    async def _gone(self) -> Exception:
        if self.gateway is not None and (why := self.gateway.refused()) is not None:
            return CappedError(why)
        if self.wire.failure is not None:
            return ModelError(f"{self.name} was ended: {self.wire.failure}.{self._said()}")
        code = "still running"
        try:
            async with asyncio.timeout(_END_S):
                code = f"code {await self.process.wait()}"
        except TimeoutError:
            pass
        except (ToolFailedError, LimpetError) as error:
            code = str(error)
        return ModelError(f"{self.name} ended in the middle ({code}).{self._said()}")

    def _said(self) -> str:
        """What it printed last beside the protocol, without the gateway's token."""
        said = self.process.errors().strip()[-MAX_SAID_CHARS:] or self.wire.noise
        return f" It printed: {self._masked(said)}" if said else ""

    def _masked(self, text: str) -> str:
        return text.replace(self.gateway.token, "***") if self.gateway is not None else text


def _dumped(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)


def _by_key(method: str) -> bool:
    return any(part in method.lower() for part in _BY_KEY)


def _details(data: object) -> str:
    match data:
        case None:
            return ""
        case str():
            return data
        case {"details": str(details)} | {"message": str(details)}:
            return details
        case _:
            return json.dumps(data, ensure_ascii=False, default=str)
