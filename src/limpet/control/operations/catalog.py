"""Every operation there is."""

from limpet.control.operations import agents, inside, sandboxes, secrets, snapshots, store
from limpet.control.operations.rest import AnyOperation

OPERATIONS: tuple[AnyOperation, ...] = (
    *agents.OPERATIONS,
    *sandboxes.OPERATIONS,
    *secrets.OPERATIONS,
    *snapshots.OPERATIONS,
    *inside.OPERATIONS,
    *store.OPERATIONS,
)
