"""The tables. Every row belongs to an org, and the org is part of every key.

Users alone stand above orgs, since one person may be a member of several. Values that end in
`_sealed` are opened by limpet.control.secrets alone. What can be derived from the store (heads,
histories, receipts) is not here.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from limpet.ids import OrgId, UserId

EMBEDDED_ORG = OrgId("local")
EMBEDDED_USER = UserId("owner")


def utc_now() -> datetime:
    """The present, with its zone."""
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC. SQLite forgets zones, so they are taken off and put on here."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a zone cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=value.tzinfo or UTC)


class Base(DeclarativeBase):
    """What all tables share: names of constraints that migrations can rely on."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        datetime: UtcDateTime,
        dict[str, Any]: JSON(none_as_null=True),
        bytes: LargeBinary,
    }


class OrgRow(Base):
    """A tenant. `key_check` is a sealed known value: it tells a wrong secret key at start.

    `retention` is a RetentionPolicy's JSON, `run_caps` that of limpet.control.threads.caps; None is
    the server's own.
    """

    __tablename__ = "orgs"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    slug: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(255))
    key_check: Mapped[bytes | None]
    retention: Mapped[dict[str, Any] | None]
    run_caps: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class UserRow(Base):
    """A person."""

    __tablename__ = "users"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    email: Mapped[str | None] = mapped_column(String(320))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class MembershipRow(Base):
    """What a user may do in an org."""

    __tablename__ = "memberships"
    org_id: Mapped[str] = mapped_column(ForeignKey("orgs.id"), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class ApiKeyRow(Base):
    """A bearer key: `prefix` finds it, `digest` (SHA-256 of the whole key) proves it."""

    __tablename__ = "api_keys"
    __table_args__ = (UniqueConstraint("prefix"),)
    org_id: Mapped[str] = mapped_column(ForeignKey("orgs.id"), primary_key=True)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(255))
    prefix: Mapped[str] = mapped_column(String(32))
    digest: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    expires_at: Mapped[datetime | None]


class SessionRow(Base):
    """A browser that signed in; `digest` is the SHA-256 of its cookie."""

    __tablename__ = "sessions"
    __table_args__ = (UniqueConstraint("digest"),)
    org_id: Mapped[str] = mapped_column(ForeignKey("orgs.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    expires_at: Mapped[datetime]


class IdempotencyRow(Base):
    """The answer that a request with an `Idempotency-Key` got, for a day."""

    __tablename__ = "idempotency"
    org_id: Mapped[str] = mapped_column(ForeignKey("orgs.id"), primary_key=True)
    user_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    operation: Mapped[str] = mapped_column(String(64))
    input_digest: Mapped[str] = mapped_column(String(64))
    answer: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class AgentRow(Base):
    """What a user talks to. Its source is a template, a clone URL, or neither.

    `clone_url` never holds credentials; they are in `clone_credentials_sealed` (JSON `{username,
    password}`), opened by limpet.control.clone_url.authenticated_clone_url. `default_branch` is
    chosen once and shared with no other agent of the org. `egress` is `{mode, hosts, registries}`;
    None is the operator's own.
    """

    __tablename__ = "agents"
    __table_args__ = (UniqueConstraint("org_id", "default_branch"),)
    org_id: Mapped[str] = mapped_column(ForeignKey("orgs.id"), primary_key=True)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    title: Mapped[str] = mapped_column(String(255))
    description: Mapped[str] = mapped_column(Text, default="")
    icon: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16), default="active")
    pinned: Mapped[bool] = mapped_column(default=False)
    instructions: Mapped[str] = mapped_column(Text, default="")
    default_main_view: Mapped[str] = mapped_column(String(64), default="chat")
    chat_side: Mapped[str] = mapped_column(String(16), default="right")
    template: Mapped[str | None] = mapped_column(String(128))
    clone_url: Mapped[str | None] = mapped_column(Text)
    clone_credentials_sealed: Mapped[bytes | None]
    github_repo: Mapped[dict[str, Any] | None]
    start_command: Mapped[str | None] = mapped_column(Text)
    acp_command: Mapped[str | None] = mapped_column(Text)
    default_branch: Mapped[str] = mapped_column(String(200))
    retention: Mapped[dict[str, Any] | None]
    egress: Mapped[dict[str, Any] | None]
    run_caps: Mapped[dict[str, Any] | None]
    created_by: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)

    @property
    def has_source(self) -> bool:
        """Whether a preview can come of it."""
        return bool(self.template or self.clone_url or self.github_repo)


class EnvSecretRow(Base):
    """An environment variable of an agent's sandboxes; with `agent_id` empty, of all of the org.

    `value_sealed` is opened by limpet.control.env_secrets, for daemons alone.
    """

    __tablename__ = "env_secrets"
    org_id: Mapped[str] = mapped_column(ForeignKey("orgs.id"), primary_key=True)
    agent_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    value_sealed: Mapped[bytes]
    updated_at: Mapped[datetime]
    updated_by: Mapped[str] = mapped_column(String(64))


class SandboxRow(Base):
    """One sandbox: (org, agent, branch). Who owns it now is its lease; `fencing` grows with each.

    `state` is what it is (stopped, starting, running, stopping, failed), `desired` what it shall
    be (running, stopped, deleted). `generation` and `head_snapshot` are the head that it grew
    from; `activity_seq_saved` and `boot_id` the watermark of its last save's start. `tracked`
    sandboxes are the saver's. Errors are `{code, message, hint}`; `ended` is of
    limpet.control.sandboxes.ends. `preview_access` is who sees the preview (link, private; None: as
    the server has it), and `preview_epoch` grows when access is taken away.
    """

    __tablename__ = "sandboxes"
    __table_args__ = (
        UniqueConstraint("handle"),
        ForeignKeyConstraint(["org_id", "agent_id"], ["agents.org_id", "agents.id"]),
    )
    org_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    agent_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    branch: Mapped[str] = mapped_column(String(200), primary_key=True)
    handle: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16), default="stopped")
    desired: Mapped[str] = mapped_column(String(16), default="stopped")
    runner_kind: Mapped[str] = mapped_column(String(32), default="host")
    isolation: Mapped[str | None] = mapped_column(String(32))
    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None]
    fencing: Mapped[int] = mapped_column(default=0)
    generation: Mapped[int] = mapped_column(default=0)
    head_snapshot: Mapped[str | None] = mapped_column(String(64))
    detached: Mapped[bool] = mapped_column(default=False)
    detached_reason: Mapped[str | None] = mapped_column(Text)
    pinned_snapshot: Mapped[str | None] = mapped_column(String(64))
    activity_seq_saved: Mapped[int | None]
    boot_id: Mapped[str | None] = mapped_column(String(64))
    last_saved_at: Mapped[datetime | None]
    last_save_error: Mapped[dict[str, Any] | None]
    last_error: Mapped[dict[str, Any] | None]
    ended: Mapped[dict[str, Any] | None]
    restore: Mapped[dict[str, Any] | None]
    tracked: Mapped[bool] = mapped_column(default=False, index=True)
    preview_access: Mapped[str | None] = mapped_column(String(16))
    preview_epoch: Mapped[int] = mapped_column(default=0)
    preview_links_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    started_at: Mapped[datetime | None]


class PruneRow(Base):
    """Who prunes an org's snapshots now, and what the last prune did.

    `org_id` may be the templates' space, which is no org. `error` is `{code, message, hint}`.
    """

    __tablename__ = "prunes"
    org_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    report: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]


class RunnerStateRow(Base):
    """What a runner must know of a sandbox after a restart: JSON, sealed."""

    __tablename__ = "runner_states"
    __table_args__ = (UniqueConstraint("handle", "runner_kind"),)
    org_id: Mapped[str] = mapped_column(ForeignKey("orgs.id"), primary_key=True)
    handle: Mapped[str] = mapped_column(String(64), primary_key=True)
    runner_kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    sealed: Mapped[bytes]
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)
