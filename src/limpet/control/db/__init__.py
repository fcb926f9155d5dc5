"""The control plane's database: its tables, its connections, its migrations."""

from limpet.control.db.database import Database
from limpet.control.db.models import (
    EMBEDDED_ORG,
    EMBEDDED_USER,
    AgentRow,
    ApiKeyRow,
    Base,
    EnvSecretRow,
    IdempotencyRow,
    MembershipRow,
    OrgRow,
    PruneRow,
    RunnerStateRow,
    SandboxRow,
    SessionRow,
    UserRow,
)
from limpet.control.db.thread_models import (
    McpServerRow,
    ModelProviderRow,
    RunRow,
    ThreadEventRow,
    ThreadRow,
)

__all__ = [
    "EMBEDDED_ORG",
    "EMBEDDED_USER",
    "AgentRow",
    "ApiKeyRow",
    "Base",
    "Database",
    "EnvSecretRow",
    "IdempotencyRow",
    "McpServerRow",
    "MembershipRow",
    "ModelProviderRow",
    "OrgRow",
    "PruneRow",
    "RunRow",
    "RunnerStateRow",
    "SandboxRow",
    "SessionRow",
    "ThreadEventRow",
    "ThreadRow",
    "UserRow",
]
