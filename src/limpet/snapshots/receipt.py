"""The receipt: what a save or a restore really did."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self


@dataclass(frozen=True, slots=True)
class Remark:
    """One path, told apart from the others, and why. Undecodable bytes show as `\\xNN`."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one save or restore did. Lists hold the first 100 remarks; `counts` has them all.

    `complete` is true only when every entry of the workspace was carried and verified;
    otherwise `incomplete_because` says why not. `dropped` counts what is never carried:
    xattrs, ACLs, set-uid and set-gid bits. `ignored` is what the users' own ignore files left out,
    a folder as one, with the rule; before it, ignore files that could not be followed.
    """

    operation: Literal["save", "restore"]
    entries: int = 0
    files: int = 0
    bytes: int = 0
    size_bytes: int = 0
    blake3: str = ""
    duration_ms: int = 0
    complete: bool = False
    incomplete_because: tuple[str, ...] = ()
    skipped: tuple[Remark, ...] = ()
    torn: tuple[Remark, ...] = ()
    healed: tuple[Remark, ...] = ()
    ignored: tuple[Remark, ...] = ()
    dropped: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    relocated: bool = False
    live: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The receipt that `as_dict` gave; keys that are not known are ignored."""
        known = {f.name for f in fields(cls)}
        values = {name: value for name, value in data.items() if name in known}
        for name in ("skipped", "torn", "healed", "ignored"):
            values[name] = tuple(Remark(**remark) for remark in values.get(name, ()))
        values["incomplete_because"] = tuple(values.get("incomplete_because", ()))
        return cls(**values)
