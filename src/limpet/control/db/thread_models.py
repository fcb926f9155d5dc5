"""The tables of threads: what was said and done, who runs what now, and which models there are."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    String,
    Text,
)
from sqlalchemy.orm import Mapped, mapped_column

from limpet.control.db.models import Base, utc_now

_JSON = JSON(none_as_null=True)


class ThreadRow(Base):
    """One conversation. Its events are numbered from 1; `last_seq` is that of the last one.

    `version` grows with every change but that of an event, so that those who follow notice it.
    """

    __tablename__ = "threads"
    __table_args__ = (
        ForeignKeyConstraint(["org_id", "agent_id"], ["agents.org_id", "agents.id"]),
        Index("ix_threads_used", "org_id", "used_at"),
    )
    org_id: Mapped[str] = mapped_column(ForeignKey("orgs.id"), primary_key=True)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    agent_id: Mapped[str] = mapped_column(String(64))
    branch: Mapped[str] = mapped_column(String(200))
    title: Mapped[str] = mapped_column(String(255), default="")
    harness: Mapped[str] = mapped_column(String(32))
    provider_id: Mapped[str | None] = mapped_column(String(64))
    model_name: Mapped[str | None] = mapped_column(String(200))
    created_by: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16), default="idle")
    archived: Mapped[bool] = mapped_column(default=False)
    last_seq: Mapped[int] = mapped_column(BigInteger, default=0)
    version: Mapped[int] = mapped_column(BigInteger, default=1)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    used_at: Mapped[datetime] = mapped_column(default=utc_now)


class ThreadEventRow(Base):
    """One event: `data` is its JSON. One that was joined of several covers the numbers from
    `first_seq` to `seq`; `pieces` then says how many characters there were up to each number.
    """

    __tablename__ = "thread_events"
    __table_args__ = (
        ForeignKeyConstraint(
            ["org_id", "thread_id"], ["threads.org_id", "threads.id"], ondelete="CASCADE"
        ),
    )
    org_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    thread_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    first_seq: Mapped[int] = mapped_column(BigInteger)
    run_id: Mapped[str | None] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(32))
    data: Mapped[dict[str, Any]]
    pieces: Mapped[Any | None] = mapped_column(_JSON)
    at: Mapped[datetime] = mapped_column(default=utc_now)


class RunRow(Base):
    """One message's turn. While `status` is running its lease says which control plane does it.

    `state` is what the harness gave last, `state_is_new` whether it gave it in this very run;
    `takeovers` counts the control planes that died in it.
    """

    __tablename__ = "runs"
    __table_args__ = (
        ForeignKeyConstraint(
            ["org_id", "thread_id"], ["threads.org_id", "threads.id"], ondelete="CASCADE"
        ),
        Index("ix_runs_status", "status"),
    )
    org_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    thread_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    position: Mapped[int]
    message: Mapped[str] = mapped_column(String(64))
    prompt: Mapped[str] = mapped_column(Text)
    answer: Mapped[str] = mapped_column(Text, default="")
    status: Mapped[str] = mapped_column(String(16), default="queued")
    stop_wanted: Mapped[bool] = mapped_column(default=False)
    harness: Mapped[str] = mapped_column(String(32))
    provider_id: Mapped[str | None] = mapped_column(String(64))
    model_name: Mapped[str | None] = mapped_column(String(200))
    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None]
    takeovers: Mapped[int] = mapped_column(default=0)
    requests: Mapped[int] = mapped_column(default=0)
    input_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    output_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    cache_read_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    cost_usd: Mapped[float | None]
    state: Mapped[Any | None] = mapped_column(_JSON)
    state_is_new: Mapped[bool] = mapped_column(default=False)
    checkpoint_before: Mapped[str | None] = mapped_column(String(64))
    checkpoint_after: Mapped[str | None] = mapped_column(String(64))
    undone: Mapped[bool] = mapped_column(default=False)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class ModelProviderRow(Base):
    """Where an org's models are to be had; the key is opened by limpet.control.threads.providers
    alone."""

    __tablename__ = "model_providers"
    org_id: Mapped[str] = mapped_column(ForeignKey("orgs.id"), primary_key=True)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(255))
    base_url: Mapped[str | None] = mapped_column(Text)
    api_key_sealed: Mapped[bytes | None]
    models: Mapped[Any] = mapped_column(_JSON)
    default_model: Mapped[str | None] = mapped_column(String(200))
    is_default: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)


class McpServerRow(Base):
    """Another MCP server that an agent has tools of.

    `headers_sealed` (JSON) is opened by limpet.control.mcp_servers, for runs and tests alone;
    `header_names` are what may be shown of it.
    """

    __tablename__ = "mcp_servers"
    __table_args__ = (ForeignKeyConstraint(["org_id", "agent_id"], ["agents.org_id", "agents.id"]),)
    org_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    agent_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(24), primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    header_names: Mapped[list[str]] = mapped_column(JSON)
    headers_sealed: Mapped[bytes | None]
    updated_at: Mapped[datetime]
    updated_by: Mapped[str] = mapped_column(String(64))
