"""From threads' rows to what the API says of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from limpet.control.db import RunRow, ThreadRow
from limpet.control.operations.thread_models import ModelRef, Run, RunUsage, Thread

UNTITLED: Final = "New thread"
_UNFINISHED: Final = ("queued", "running")


def model_of(row: ThreadRow | RunRow) -> ModelRef | None:
    """The model that the row names."""
    if row.provider_id is None or row.model_name is None:
        return None
    return ModelRef(provider_id=row.provider_id, name=row.model_name)


def run_of(row: RunRow) -> Run:
    """A run as the API shows it."""
    return Run.model_validate(
        {
            "id": row.id,
            "message": row.message,
            "prompt": row.prompt,
            "status": row.status,
            "harness": row.harness,
            "model": model_of(row),
            "usage": RunUsage(
                requests=row.requests,
                input_tokens=row.input_tokens,
                output_tokens=row.output_tokens,
                cache_read_tokens=row.cache_read_tokens,
                cost_usd=row.cost_usd,
            ),
            "checkpoint_before": row.checkpoint_before,
            "checkpoint_after": row.checkpoint_after,
            "undone": row.undone,
            "error": row.error,
            "created_at": row.created_at,
            "started_at": row.started_at,
            "finished_at": row.finished_at,
        }
    )


async def threads_of(session: AsyncSession, rows: Sequence[ThreadRow], user: str) -> list[Thread]:
    """The threads as `user` sees them, with two queries for all."""
    if not rows:
        return []
    org, ids = rows[0].org_id, [row.id for row in rows]
    sums = await session.execute(
        select(
            RunRow.thread_id,
            func.coalesce(func.sum(RunRow.requests), 0).label("requests"),
            func.coalesce(func.sum(RunRow.input_tokens), 0).label("input_tokens"),
            func.coalesce(func.sum(RunRow.output_tokens), 0).label("output_tokens"),
            func.coalesce(func.sum(RunRow.cache_read_tokens), 0).label("cache_read_tokens"),
            func.sum(RunRow.cost_usd).label("cost_usd"),
        )
        .where(RunRow.org_id == org, RunRow.thread_id.in_(ids))
        .group_by(RunRow.thread_id)
    )
    usage = {row.thread_id: RunUsage.model_validate(row) for row in sums}
    unfinished = await session.scalars(
        select(RunRow).where(
            RunRow.org_id == org, RunRow.thread_id.in_(ids), RunRow.status.in_(_UNFINISHED)
        )
    )
    waiting: dict[str, list[RunRow]] = {}
    for run in unfinished:
        waiting.setdefault(run.thread_id, []).append(run)
    return [_thread_of(row, user, usage, waiting.get(row.id, ())) for row in rows]


def _thread_of(
    row: ThreadRow, user: str, usage: Mapping[str, RunUsage], unfinished: Iterable[RunRow]
) -> Thread:
    unfinished = list(unfinished)
    running = next((run for run in unfinished if run.status == "running"), None)
    told: dict[str, Any] = {
        "id": row.id,
        "agent_id": row.agent_id,
        "branch": row.branch,
        "title": row.title or UNTITLED,
        "status": "running" if unfinished else row.status,
        "harness": row.harness,
        "model": model_of(row),
        "created_by": row.created_by,
        "may_write": row.created_by == user,
        "archived": row.archived,
        "last_seq": row.last_seq,
        "run": run_of(running) if running else None,
        "queued": len(unfinished) - (running is not None),
        "usage": usage.get(row.id, NO_USAGE),
        "created_at": row.created_at,
        "updated_at": row.used_at,
    }
    return Thread.model_validate(told)


NO_USAGE: Final = RunUsage(
    requests=0, input_tokens=0, output_tokens=0, cache_read_tokens=0, cost_usd=None
)
