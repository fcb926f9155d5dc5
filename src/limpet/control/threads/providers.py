"""Model providers of orgs. Keys are sealed when they come in, and opened for a run or a test."""

from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from limpet.control.db import Database, ModelProviderRow
from limpet.control.operations.thread_models import (
    ModelInfo,
    ModelProvider,
    ModelProviderChoices,
    ModelProviderCreate,
    ModelProviderTested,
    ModelProviderUpdate,
    ModelRef,
)
from limpet.control.secrets import SecretBox
from limpet.control.threads.keys import NoModelError
from limpet.control.threads.provider_models import models_of
from limpet.errors import ConflictError, InvalidInputError, LimpetError, NotFoundError
from limpet.harness.base import ModelChoice
from limpet.ids import OrgId, new_id

PURPOSE: Final = "model provider key"
MAX_PROVIDERS: Final = 50
MAX_MODELS: Final = 500
TITLES: Final = {
    "anthropic": "Anthropic",
    "openai": "OpenAI",
    "openai-compatible": "OpenAI-compatible server",
    "google": "Google",
    "bedrock": "Amazon Bedrock",
}
_NEEDS_URL: Final = "An OpenAI-compatible server needs a base_url"


class Providers:
    """The providers of all orgs; every call names the org that it is for."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self._box = box

    async def all(self, org: OrgId) -> list[ModelProvider]:
        """The org's providers, the default one first."""
        async with self._database.reading() as session:
            return [provider_of(row) for row in await _all(session, org)]

    async def create(self, org: OrgId, wanted: ModelProviderCreate) -> ModelProvider:
        """A new provider; the org's first one is its default."""
        if wanted.kind == "openai-compatible" and not wanted.base_url:
            raise InvalidInputError(_NEEDS_URL, hint="Such as http://127.0.0.1:11434/v1.")
        row = ModelProviderRow(
            org_id=org, id=new_id("prov"), kind=wanted.kind, name=TITLES[wanted.kind], models=[]
        )
        if wanted.api_key:
            row.api_key_sealed = self._box.seal(wanted.api_key, purpose=PURPOSE, org=org)
        _choose(row, wanted)
        async with self._database.session() as session:
            others = await _all(session, org)
            if len(others) >= MAX_PROVIDERS:
                raise ConflictError(f"An org has at most {MAX_PROVIDERS} model providers")
            row.is_default = bool(wanted.is_default) or not others
            if row.is_default:
                for other in others:
                    other.is_default = False
            session.add(row)
        return provider_of(row)

    async def update(self, org: OrgId, wanted: ModelProviderUpdate) -> ModelProvider:
        """Change a provider. A key never follows a base_url to where it was not given for."""
        said = wanted.model_fields_set
        async with self._database.session() as session:
            row = await _get(session, org, wanted.provider_id)
            moved = "base_url" in said and wanted.base_url != row.base_url
            if moved and row.api_key_sealed is not None and "api_key" not in said:
                raise InvalidInputError(
                    "Another base_url needs the key anew: a key is sent nowhere but where it was "
                    "meant for",
                    hint="Give api_key together with base_url.",
                )
            if moved and row.kind == "openai-compatible" and not wanted.base_url:
                raise InvalidInputError(_NEEDS_URL)
            if "api_key" in said:
                row.api_key_sealed = (
                    self._box.seal(wanted.api_key, purpose=PURPOSE, org=org)
                    if wanted.api_key
                    else None
                )
            _choose(row, wanted)
            if wanted.is_default is not None and wanted.is_default != row.is_default:
                if not wanted.is_default:
                    raise InvalidInputError(
                        "One provider is the default", hint="Make another one the default."
                    )
                for other in await _all(session, org):
                    other.is_default = other.id == row.id
        return provider_of(row)

    async def delete(self, org: OrgId, provider: str) -> None:
        """Forget a provider and its key; another one becomes the default."""
        async with self._database.session() as session:
            row = await _get(session, org, provider)
            others = [one for one in await _all(session, org) if one.id != row.id]
            if row.is_default and others:
                others[0].is_default = True
            await session.delete(row)

    async def test(self, org: OrgId, provider: str) -> ModelProviderTested:
        """Ask the provider for its models; they are kept where none were given."""
        async with self._database.reading() as session:
            row = await _get(session, org, provider)
        try:
            models = await models_of(self._choice(row, ""))
        except LimpetError as error:
            return ModelProviderTested.model_validate(
                {"ok": False, "models": [], "problem": error.as_dict()}
            )
        if models and not row.models:
            async with self._database.session() as session:
                now = await _get(session, org, provider)
                if not now.models:
                    now.models = models[:MAX_MODELS]
        return ModelProviderTested(ok=True, models=models, problem=None)

    async def models(self, org: OrgId) -> list[ModelInfo]:
        """What threads can choose, the org's default first."""
        async with self._database.reading() as session:
            rows = await _all(session, org)
        default = _default_of(rows)
        found = [
            ModelInfo.model_validate(
                {
                    "provider_id": row.id,
                    "provider_name": row.name,
                    "kind": row.kind,
                    "name": name,
                    "is_default": default == (row.id, name),
                }
            )
            for row in rows
            for name in _names(row)
        ]
        return sorted(found, key=lambda model: not model.is_default)

    async def resolve(self, org: OrgId, wanted: ModelRef | None) -> ModelRef:
        """The model that a thread means: its own, or the org's default; `NoModelError`."""
        async with self._database.reading() as session:
            if wanted is not None:
                await _get(session, org, wanted.provider_id)
                return wanted
            default = _default_of(await _all(session, org))
        if default is None:
            raise NoModelError(
                "No model is set up",
                hint="Add a model provider in the settings, or `limpet models add`.",
            )
        return ModelRef(provider_id=default[0], name=default[1])

    async def choice(self, org: OrgId, model: ModelRef) -> ModelChoice:
        """The model with its key, for a run. `NotFoundError` when its provider went away."""
        async with self._database.reading() as session:
            row = await _get(session, org, model.provider_id)
        return self._choice(row, model.name)

    def _choice(self, row: ModelProviderRow, name: str) -> ModelChoice:
        key = row.api_key_sealed
        return ModelChoice(
            provider=provider_of(row).kind,
            name=name,
            api_key=self._box.open(key, purpose=PURPOSE, org=row.org_id).decode() if key else None,
            base_url=row.base_url,
        )


def provider_of(row: ModelProviderRow) -> ModelProvider:
    """The provider as the API shows it: without its key."""
    return ModelProvider.model_validate(
        {
            "id": row.id,
            "kind": row.kind,
            "name": row.name,
            "base_url": row.base_url,
            "has_api_key": row.api_key_sealed is not None,
            "models": row.models,
            "default_model": row.default_model,
            "is_default": row.is_default,
            "created_at": row.created_at,
            "updated_at": row.updated_at,
        }
    )


def _choose(row: ModelProviderRow, wanted: ModelProviderChoices) -> None:
    if wanted.name is not None:
        row.name = wanted.name
    if "base_url" in wanted.model_fields_set:
        row.base_url = wanted.base_url
    if wanted.models is not None:
        row.models = list(dict.fromkeys(wanted.models))
    if "default_model" in wanted.model_fields_set:
        row.default_model = wanted.default_model


def _names(row: ModelProviderRow) -> list[str]:
    first = [row.default_model] if row.default_model else []
    return list(dict.fromkeys([*first, *row.models]))


def _default_of(rows: list[ModelProviderRow]) -> tuple[str, str] | None:
    """The default provider's model, else the first that there is."""
    return next(((row.id, name) for row in rows for name in _names(row)[:1]), None)


async def _all(session: AsyncSession, org: OrgId) -> list[ModelProviderRow]:
    rows = await session.scalars(
        select(ModelProviderRow)
        .where(ModelProviderRow.org_id == org)
        .order_by(ModelProviderRow.is_default.desc(), ModelProviderRow.created_at)
    )
    return list(rows)


async def _get(session: AsyncSession, org: OrgId, provider: str) -> ModelProviderRow:
    row = await session.get(ModelProviderRow, (org, provider))
    if row is None:
        raise NotFoundError(
            f"There is no model provider {provider[:80]!r}", hint="`limpet models ls` lists them."
        )
    return row
