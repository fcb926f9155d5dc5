"""What the host runner knows of one running sandbox, and how it is kept and read again."""

import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from limpet.ids import BootId, Handle
from limpet.runners.base import IsolationKind
from limpet.runners.egress import EgressPolicy
from limpet.runners.processes import ProcessId

VERSION = 1
_ISOLATIONS: dict[str, Literal["bubblewrap", "none"]] = {
    "bubblewrap": "bubblewrap",
    "none": "none",
}


@dataclass(frozen=True, slots=True)
class Record:
    """One daemon. `leader` is the process that we started; `init` its namespace's, if it has one.

    `as_dict` holds the token: it goes into sealed state alone. `processes_dict` does not.
    """

    handle: Handle
    url: str
    token: str = field(repr=False)
    boot_id: BootId
    isolation: IsolationKind
    leader: ProcessId
    init: ProcessId | None
    egress: EgressPolicy | None = None
    """What leads out of its own network; None when it shares this machine's."""

    @property
    def processes(self) -> list[ProcessId]:
        """The processes whose life is the sandbox's, the innermost first."""
        return [self.leader] if self.init is None else [self.init, self.leader]

    def as_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {
            "version": VERSION,
            "url": self.url,
            "token": self.token,
            "boot_id": self.boot_id,
            "egress": None if self.egress is None else self.egress.as_dict(),
            **self.processes_dict(),
        }

    def processes_dict(self) -> dict[str, object]:
        """What is enough to end the sandbox, in plain JSON types."""
        return {
            "isolation": self.isolation,
            "pid": self.leader.pid,
            "started": self.leader.started,
            "init_pid": self.init.pid if self.init else None,
            "init_started": self.init.started if self.init else None,
        }

    @classmethod
    def from_dict(cls, handle: Handle, value: Mapping[str, object]) -> Self | None:
        """The record that `as_dict` or `processes_dict` gave; None when it is not sound."""
        pid, started = value.get("pid"), value.get("started")
        init_pid, init_started = value.get("init_pid"), value.get("init_started")
        isolation = _ISOLATIONS.get(str(value.get("isolation")))
        if not isinstance(pid, int) or not isinstance(started, str) or isolation is None:
            return None
        init = None
        if isinstance(init_pid, int) and isinstance(init_started, str):
            init = ProcessId(init_pid, init_started)
        egress = value.get("egress")
        return cls(
            handle=handle,
            url=str(value.get("url", "")),
            token=str(value.get("token", "")),
            boot_id=BootId(str(value.get("boot_id", ""))),
            isolation=isolation,
            leader=ProcessId(pid, started),
            init=init,
            egress=EgressPolicy.from_dict(egress) if isinstance(egress, Mapping) else None,
        )


class PidFiles:
    """One small file a sandbox, outside all roots: finds a daemon whose state was lost."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, record: Record) -> None:
        """Keep the record's processes, atomically. Blocks."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._folder / f".{record.handle}.{secrets.token_hex(6)}"
        fresh.write_text(json.dumps(record.processes_dict()))
        fresh.replace(self._path(record.handle))

    def delete(self, handle: Handle) -> None:
        """Forget the sandbox. Blocks."""
        self._path(handle).unlink(missing_ok=True)

    def all(self) -> list[Record]:
        """Every sound file; what is not sound is deleted. Blocks."""
        found = []
        for file in self._folder.glob("*.json") if self._folder.is_dir() else ():
            record = None
            with suppress(OSError, ValueError):
                value = json.loads(file.read_text())
                if isinstance(value, dict):
                    record = Record.from_dict(Handle(file.stem), value)
            if record is None:
                file.unlink(missing_ok=True)
            else:
                found.append(record)
        for left in self._folder.glob(".*") if self._folder.is_dir() else ():
            with suppress(OSError):
                left.unlink()
        return found

    def _path(self, handle: Handle) -> Path:
        return self._folder / f"{handle}.json"
