"""The agent's session of a thread: the one that it had, where it can be had again, or a new one."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from acp import RequestError
from acp.meta import AGENT_METHODS
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from limpet.harness.acp.environment import PREFIXES
from limpet.harness.acp.kept import Kept
from limpet.harness.acp.peer import AUTH_REQUIRED, Peer
from limpet.harness.base import ModelChoice, ModelError, Turn
from limpet.harness.channel import Emit
from limpet.harness.events import Notice

MAX_ID_CHARS: Final = 500
_ASKS_NOTHING: Final = frozenset({"bypasspermissions", "yolo", "fullaccess", "dangerfullaccess"})
"""Modes of agents in which they do what they are told without asking, by their ids."""
_SET_MODEL: Final = "session/set_model"
"""Of agents that do not offer their models as options yet."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session. `is_new`: it knows nothing of the thread."""

    id: str
    is_new: bool


class _Value(BaseModel):
    value: str


class _Group(BaseModel):
    options: list[_Value]


class _Option(BaseModel):
    id: str
    category: str | None = None
    currentValue: Any = None  # noqa: N815 - the protocol's own names
    options: list[_Value | _Group] = []

    @property
    def values(self) -> list[str]:
        return [
            value.value
            for one in self.options
            for value in (one.options if isinstance(one, _Group) else [one])
        ]


class _Mode(BaseModel):
    id: str


class _Modes(BaseModel):
    currentModeId: str  # noqa: N815
    availableModes: list[_Mode] = []  # noqa: N815


class _Model(BaseModel):
    modelId: str  # noqa: N815


class _Models(BaseModel):
    currentModelId: str | None = None  # noqa: N815
    availableModels: list[_Model] = []  # noqa: N815


class Offered(BaseModel):
    """What can be chosen in a session, in all the ways in which agents say it."""

    model_config = ConfigDict(extra="ignore")
    session: str | None = Field(default=None, alias="sessionId", max_length=MAX_ID_CHARS)
    options: list[_Option] | None = Field(default=None, alias="configOptions")
    modes: _Modes | None = None
    models: _Models | None = None


async def opened(peer: Peer, turn: Turn, kept: Kept, cwd: str, emit: Emit) -> Session:
    """Greet the agent and open the thread's session in `cwd`; says where the old one is lost.

    Raises `ModelError` and `CappedError`.
    """
    await peer.greet()
    where = {"cwd": cwd, "mcpServers": []}
    old = kept.session if kept.command == list(turn.command) else None
    offered = await _old(peer, old, where) if old else None
    if offered is not None and old is not None:
        session = Session(old, is_new=False)
    else:
        if kept.turns or turn.history:
            await emit(
                Notice(text=f"{peer.name} begins a new session: it is told the thread in short.")
            )
        offered = await _new(peer, where)
        if not offered.session:
            raise ModelError(f"{peer.name} does not keep to the protocol: its session has no id.")
        session = Session(offered.session, is_new=True)
    await _choose(peer, session.id, offered, turn.model if peer.gateway is not None else None)
    return session


async def _old(peer: Peer, session: str, where: dict[str, Any]) -> Offered | None:
    """The session that there was: None where the agent has it no more, or cannot go back to it."""
    sessions = peer.can.session_capabilities
    if sessions is not None and sessions.resume is not None:
        method = AGENT_METHODS["session_resume"]  # loads without telling everything again
    elif peer.can.load_session:
        method = AGENT_METHODS["session_load"]
    else:
        return None
    try:
        return await _asked(peer, method, {**where, "sessionId": session})
    except RequestError as error:
        if error.code == AUTH_REQUIRED:
            raise await peer.refusal(error) from None
        return None


async def _new(peer: Peer, where: dict[str, Any]) -> Offered:
    try:
        return await _asked(peer, AGENT_METHODS["session_new"], where)
    except RequestError as error:
        raise await peer.refusal(error) from None


async def _asked(peer: Peer, method: str, params: dict[str, Any]) -> Offered:
    """A session's answer; where the agent wants to be signed in first it is, if that can be."""
    try:
        told = await peer.ask(method, params, within_s=peer.waits.session_s)
    except RequestError as error:
        if error.code != AUTH_REQUIRED or not await peer.signed_in():
            raise
        told = await peer.ask(method, params, within_s=peer.waits.session_s)
    try:
        return Offered.model_validate(told or {})
    except ValidationError:
        # Choices that are not of their shape are none; the session's id is what counts.
        found = told.get("sessionId") if isinstance(told, dict) else None
        return Offered.model_validate({"sessionId": found if isinstance(found, str) else None})


async def _choose(peer: Peer, session: str, offered: Offered, model: ModelChoice | None) -> None:
    """The mode that asks nothing, and the run's model, where the agent offers them."""
    for method, params in _wishes(offered, model):
        try:
            await peer.ask(method, {"sessionId": session, **params}, within_s=peer.waits.session_s)
        except RequestError:
            continue  # it stays as it was: what it asks is allowed, and the gateway knows the model


def _wishes(offered: Offered, model: ModelChoice | None) -> Iterator[tuple[str, dict[str, str]]]:
    options = {one.category: one for one in offered.options or () if one.category}
    mode = options.get("mode")
    if mode is not None:
        if (value := _free_mode(mode.values)) not in (None, mode.currentValue):
            yield AGENT_METHODS["session_set_config_option"], {"configId": mode.id, "value": value}
    elif offered.modes is not None:
        value = _free_mode([one.id for one in offered.modes.availableModes])
        if value not in (None, offered.modes.currentModeId):
            yield AGENT_METHODS["session_set_mode"], {"modeId": value}
    if model is None:
        return
    choice = options.get("model")
    if choice is not None:
        if (name := _model_of(choice.values, model)) not in (None, choice.currentValue):
            yield AGENT_METHODS["session_set_config_option"], {"configId": choice.id, "value": name}
    elif offered.models is not None:
        name = _model_of([one.modelId for one in offered.models.availableModels], model)
        if name not in (None, offered.models.currentModelId):
            yield _SET_MODEL, {"modelId": name}


def _free_mode(modes: Sequence[str]) -> str | None:
    return next((one for one in modes if re.sub(r"[^a-z]", "", one.lower()) in _ASKS_NOTHING), None)


def _model_of(names: Sequence[str], model: ModelChoice) -> str | None:
    """What the agent calls the model; else any of the same provider: the gateway answers as ours.

    None where it has no name of that kind: it keeps to its environment then.
    """
    prefix = PREFIXES[model.provider]
    of_provider = [name for name in names if name.startswith(prefix)]
    for found in (
        [name for name in names if name == model.name],
        [name for name in of_provider if name == prefix + model.name],
        of_provider,
    ):
        if found:
            return found[0]
    return None
