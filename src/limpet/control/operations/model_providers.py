"""Operations on model providers and on the caps of runs."""

from limpet.control.operations.models import Nothing, Ok
from limpet.control.operations.registry import Call, Operation
from limpet.control.operations.thread_models import (
    ModelList,
    ModelProvider,
    ModelProviderCreate,
    ModelProviderList,
    ModelProviderRef,
    ModelProviderTested,
    ModelProviderUpdate,
    RunCaps,
    RunCapsOf,
    RunCapsSet,
)
from limpet.errors import InvalidInputError
from limpet.harness.base import Caps
from limpet.ids import AgentId

_CAPS = ("time_s", "cost_usd", "requests")


async def create(call: Call, wanted: ModelProviderCreate) -> ModelProvider:
    """A new provider."""
    return await call.services.threads.parts.providers.create(call.identity.org, wanted)


async def list_all(call: Call, _wanted: Nothing) -> ModelProviderList:
    """The org's providers."""
    found = await call.services.threads.parts.providers.all(call.identity.org)
    return ModelProviderList(providers=found)


async def update(call: Call, wanted: ModelProviderUpdate) -> ModelProvider:
    """Change a provider."""
    return await call.services.threads.parts.providers.update(call.identity.org, wanted)


async def delete(call: Call, wanted: ModelProviderRef) -> Ok:
    """Forget a provider."""
    await call.services.threads.parts.providers.delete(call.identity.org, wanted.provider_id)
    return Ok()


async def test(call: Call, wanted: ModelProviderRef) -> ModelProviderTested:
    """Ask a provider for its models."""
    return await call.services.threads.parts.providers.test(call.identity.org, wanted.provider_id)


async def models(call: Call, _wanted: Nothing) -> ModelList:
    """What threads can choose."""
    found = await call.services.threads.parts.providers.models(call.identity.org)
    return ModelList(models=found)


async def caps(call: Call, wanted: RunCapsOf) -> RunCaps:
    """When a run ends by itself."""
    agent = AgentId(wanted.agent_id) if wanted.agent_id else None
    return await call.services.threads.parts.caps.get(call.identity.org, agent)


async def set_caps(call: Call, wanted: RunCapsSet) -> RunCaps:
    """Other caps from the next run on."""
    book, org = call.services.threads.parts.caps, call.identity.org
    agent = AgentId(wanted.agent_id) if wanted.agent_id else None
    said = {name for name in _CAPS if name in wanted.model_fields_set}
    if wanted.reset == bool(said):
        raise InvalidInputError("Say a cap (time_s, cost_usd, requests), or reset; not both")
    before = await book.get(org, agent)
    chosen = None
    if said:
        chosen = Caps(
            time_s=wanted.time_s if "time_s" in said else before.time_s,
            cost_usd=wanted.cost_usd if "cost_usd" in said else before.cost_usd,
            requests=wanted.requests if "requests" in said else before.requests,
        )
    await book.set(org, agent, chosen)
    return await book.get(org, agent)


_PROVIDERS = "/model-providers"
_ONE = f"{_PROVIDERS}/{{provider_id}}"

OPERATIONS = (
    Operation(
        "MODEL_PROVIDER_CREATE",
        "POST",
        _PROVIDERS,
        ModelProviderCreate,
        ModelProvider,
        create,
        "Add a model provider",
        keyed=True,
    ),
    Operation(
        "MODEL_PROVIDER_LIST",
        "GET",
        _PROVIDERS,
        Nothing,
        ModelProviderList,
        list_all,
        "List the model providers",
    ),
    Operation(
        "MODEL_PROVIDER_UPDATE",
        "PATCH",
        _ONE,
        ModelProviderUpdate,
        ModelProvider,
        update,
        "Change a model provider",
    ),
    Operation(
        "MODEL_PROVIDER_DELETE",
        "DELETE",
        _ONE,
        ModelProviderRef,
        Ok,
        delete,
        "Delete a model provider and its key",
        destructive=True,
    ),
    Operation(
        "MODEL_PROVIDER_TEST",
        "POST",
        f"{_ONE}/test",
        ModelProviderRef,
        ModelProviderTested,
        test,
        "Ask a model provider for its models, to see that it answers",
    ),
    Operation("MODEL_LIST", "GET", "/models", Nothing, ModelList, models, "List the models"),
    Operation("RUN_CAPS_GET", "GET", "/run-caps", RunCapsOf, RunCaps, caps, "When a run ends"),
    Operation(
        "RUN_CAPS_SET",
        "POST",
        "/run-caps",
        RunCapsSet,
        RunCaps,
        set_caps,
        "Change when runs end, of an agent or of the whole org",
    ),
)
