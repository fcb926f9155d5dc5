"""What the parts of the daemon share: one value, made once in main.py and handed to each."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from limpet.daemon.activity import Activity
from limpet.daemon.config_store import ConfigStore
from limpet.daemon.events import Broadcaster
from limpet.daemon.settings import DaemonSettings
from limpet.daemon.tasks import TaskManager

if TYPE_CHECKING:
    from limpet.daemon.preview_ports import PreviewPorts
    from limpet.daemon.setup import Setup
    from limpet.daemon.snapshots import SnapshotService
    from limpet.daemon.watch import Watcher
    from limpet.snapshots.swap import SandboxRoot


class Token:
    """The bearer token: compared in constant time, and replaceable while we run."""

    def __init__(self, value: str) -> None:
        self._value = value.encode()

    def matches(self, given: str) -> bool:
        """Whether `given` is the token."""
        return hmac.compare_digest(given.encode(errors="replace"), self._value)

    def rotate(self, value: str) -> None:
        """From now on the token is `value`."""
        self._value = value.encode()

    def given_by(self, headers: Mapping[str, str]) -> bool:
        """Whether a request carries it, as `Authorization: Bearer` or as `X-Limpet-Token`."""
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.matches(bearer.strip()):
            return True
        own = headers.get("x-limpet-token")
        return own is not None and self.matches(own)


@dataclass(slots=True)
class DaemonContext:
    """Every part of one daemon. The late ones are set by main.py before anything is served."""

    settings: DaemonSettings
    token: Token
    activity: Activity
    events: Broadcaster
    config: ConfigStore
    tasks: TaskManager
    root: "SandboxRoot"
    setup: "Setup" = field(init=False)
    snapshots: "SnapshotService" = field(init=False)
    watcher: "Watcher" = field(init=False)
    previews: "PreviewPorts" = field(init=False)

    @property
    def repo(self) -> Path:
        """The checkout."""
        return self.settings.repo
