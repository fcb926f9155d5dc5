"""Every operation there is."""

from limpet.control.operations import (
    agents,
    inside,
    machine,
    mcp_servers,
    model_providers,
    previews,
    sandboxes,
    secrets,
    snapshots,
    store,
    threads,
)
from limpet.control.operations.rest import AnyOperation

OPERATIONS: tuple[AnyOperation, ...] = (
    *agents.OPERATIONS,
    *sandboxes.OPERATIONS,
    *previews.OPERATIONS,
    *secrets.OPERATIONS,
    *snapshots.OPERATIONS,
    *inside.OPERATIONS,
    *store.OPERATIONS,
    *machine.OPERATIONS,
    *threads.OPERATIONS,
    *model_providers.OPERATIONS,
    *mcp_servers.OPERATIONS,
)
