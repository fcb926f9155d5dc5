"""Operations on the store: what is in it, what is kept, and deleting what is not."""

from dataclasses import asdict

from limpet.control.operations.registry import Call, Operation
from limpet.control.operations.store_models import (
    LastPrune,
    Pruned,
    Retention,
    RetentionOf,
    RetentionSet,
    StorePrune,
    StoreStats,
    StoreStatsOf,
)
from limpet.errors import InvalidInputError
from limpet.ids import AgentId
from limpet.snapshots.retention import RetentionPolicy


async def stats(call: Call, wanted: StoreStatsOf) -> StoreStats:
    """What the org's snapshots come to."""
    services, org = call.services, call.identity.org
    used = await services.usage.of(org, fresh=wanted.fresh)
    policy, source = await services.pruner.policy(org, None)
    last = await services.pruner.last(org)
    return StoreStats(
        kind=services.store.kind,
        where=services.store.where,
        **asdict(used),
        quota_bytes=services.usage.quota_bytes,
        retention=Retention(**policy.as_dict(), source=source),
        last_prune=LastPrune.model_validate(last) if last is not None else None,
    )


async def prune(call: Call, wanted: StorePrune) -> Pruned:
    """Prune the org's snapshots now."""
    org = call.identity.org
    report = await call.services.pruner.prune(org, dry_run=wanted.dry_run)
    if not wanted.dry_run:
        await call.services.usage.of(org, fresh=True)
    return Pruned.model_validate(report)


async def retention(call: Call, wanted: RetentionOf) -> Retention:
    """What is kept."""
    return await _retention(call, wanted.agent_id)


async def set_retention(call: Call, wanted: RetentionSet) -> Retention:
    """Keep more or less from now on."""
    agent = AgentId(wanted.agent_id) if wanted.agent_id else None
    changes = wanted.changes()
    if wanted.reset == bool(changes):
        raise InvalidInputError("Say what shall be kept (last, hours, days), or reset; not both")
    policy = None
    if changes:
        before, _ = await call.services.pruner.policy(call.identity.org, agent)
        policy = RetentionPolicy.from_dict({**before.as_dict(), **changes})
    await call.services.pruner.set_policy(call.identity.org, agent, policy)
    return await _retention(call, wanted.agent_id)


async def _retention(call: Call, agent: str | None) -> Retention:
    policy, source = await call.services.pruner.policy(
        call.identity.org, AgentId(agent) if agent else None
    )
    return Retention(**policy.as_dict(), source=source)


OPERATIONS = (
    Operation(
        "STORE_STATS",
        "GET",
        "/store/stats",
        StoreStatsOf,
        StoreStats,
        stats,
        "What the snapshots come to: logical, stored and shared bytes",
    ),
    Operation(
        "STORE_PRUNE",
        "POST",
        "/store/prune",
        StorePrune,
        Pruned,
        prune,
        "Condemn what is not kept, and delete what was condemned over 24 hours ago",
        destructive=True,
    ),
    Operation(
        "RETENTION_GET",
        "GET",
        "/retention",
        RetentionOf,
        Retention,
        retention,
        "How many snapshots are kept",
    ),
    Operation(
        "RETENTION_SET",
        "POST",
        "/retention",
        RetentionSet,
        Retention,
        set_retention,
        "Change how many snapshots are kept, of an agent or of the whole org",
        destructive=True,
    ),
)
