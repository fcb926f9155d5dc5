"""Operations on the machine that serves: what sandboxes take of it, and what it lacks."""

import asyncio
import os

from limpet.control.doctor import look_at_machine, look_at_store
from limpet.control.operations.machine_models import (
    DoctorFinding,
    DoctorOf,
    DoctorReport,
    FiguresList,
    FiguresOf,
)
from limpet.control.operations.registry import Call, Operation
from limpet.control.sandboxes.figures import figures_of


async def figures(call: Call, wanted: FiguresOf) -> FiguresList:
    """What the org's running sandboxes take."""
    del wanted
    return FiguresList(figures=await figures_of(call.services.sandboxes.parts, call.identity.org))


async def doctor(call: Call, wanted: DoctorOf) -> DoctorReport:
    """What is missing or wrong here."""
    folder = call.services.settings.data_dir
    found = await asyncio.to_thread(look_at_machine, os.environ, folder)
    if wanted.store:
        found += await asyncio.to_thread(look_at_store, os.environ, folder)
    return DoctorReport(
        ok=all(finding.verdict != "failed" for finding in found),
        findings=[DoctorFinding.model_validate(finding) for finding in found],
    )


OPERATIONS = (
    Operation(
        "SANDBOX_FIGURES",
        "GET",
        "/sandbox-figures",
        FiguresOf,
        FiguresList,
        figures,
        "What running sandboxes take: memory, and how long they have been idle",
    ),
    Operation(
        "SERVER_DOCTOR",
        "POST",
        "/doctor",
        DoctorOf,
        DoctorReport,
        doctor,
        "Look for what is missing or wrong where the server runs",
    ),
)
