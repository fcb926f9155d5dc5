"""Every operation there is."""

from limpet.control.operations import agents, inside, sandboxes, snapshots, store
from limpet.control.operations.rest import AnyOperation

OPERATIONS: tuple[AnyOperation, ...] = (
    *agents.OPERATIONS,
    *sandboxes.OPERATIONS,
    *snapshots.OPERATIONS,
    *inside.OPERATIONS,
    *store.OPERATIONS,
)
