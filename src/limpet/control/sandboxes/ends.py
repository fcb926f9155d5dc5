"""Why a sandbox does not run any more: what its row keeps of it, and the API shows.

There is one as long as it is stopping or stopped; a start takes it away. One that never ran has
none, nor has one whose start failed: its `last_error` says why.
"""

from dataclasses import dataclass
from typing import Any, Literal

from limpet.control.db.models import utc_now
from limpet.ids import UserId

Reason = Literal["asked", "gone", "interrupted"]
GONE_PROBLEM = {
    "code": "sandbox_gone",
    "message": "The sandbox ended by itself: it was killed, evicted, or its machine went down.",
    "hint": "Start it again. What it had not saved is there if its files still are.",
}


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asked for a stop, and whether from a browser or with an API key."""

    user: UserId
    through: Literal["session", "api-key"]


def asked_for(asker: Asker) -> dict[str, Any]:
    """Somebody wanted it stopped."""
    return _now("asked") | {"by": asker.user, "through": asker.through}


def gone() -> dict[str, Any]:
    """It ended by itself."""
    return _now("gone")


def interrupted() -> dict[str, Any]:
    """The server ended in the middle of its start."""
    return _now("interrupted")


def _now(reason: Reason) -> dict[str, Any]:
    return {"reason": reason, "at": utc_now().isoformat()}
