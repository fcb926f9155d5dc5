"""What the operations on the machine that serves take and give."""

from typing import Literal

from pydantic import Field

from limpet.control.operations.shapes import Input, Output


class FiguresOf(Input):
    """Of all running sandboxes of the org."""


class SandboxFigures(Output):
    """What a running sandbox takes now. Null: this runner, or this machine, does not tell."""

    handle: str
    memory_bytes: int | None
    idle_ms: int | None
    """Since its last work; what polls and watches is none."""


class FiguresList(Output):
    """Running sandboxes, in the order in which they are listed."""

    figures: list[SandboxFigures]


class DoctorOf(Input):
    """Look for what is missing or wrong where the server runs. Nothing is changed there.

    `store` also tries every operation on the snapshot store, with a scratch key.
    """

    store: bool = Field(default=False)


class DoctorFinding(Output):
    """One thing that was looked at: what was found and, unless it is fine, what to do."""

    what: str
    verdict: Literal["ok", "warning", "failed"]
    found: str
    remedy: str


class DoctorReport(Output):
    """`ok` unless something must be mended; warnings are none of that."""

    ok: bool
    findings: list[DoctorFinding]
