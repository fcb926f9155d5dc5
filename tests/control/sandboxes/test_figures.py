"""What running sandboxes take is told; what cannot be asked is unknown, and no error."""

import pytest

from limpet.control.db import EMBEDDED_ORG
from limpet.control.sandboxes.figures import figures_of
from tests.control.sandboxes.conftest import Box, House

pytestmark = pytest.mark.anyio


async def test_only_what_runs_has_figures(box: Box, house: House) -> None:
    parts = house.service.parts
    assert await figures_of(parts, EMBEDDED_ORG) == []
    await box.start()
    await box.write("a.txt", "work")
    (figures,) = await figures_of(parts, EMBEDDED_ORG)
    assert figures.handle == await box.handle()
    assert figures.memory_bytes is not None
    assert figures.memory_bytes > 1_000_000
    assert figures.idle_ms is not None
    await box.stop()
    assert await figures_of(parts, EMBEDDED_ORG) == []


async def test_a_sandbox_that_died_unseen_is_unknown(box: Box, house: House) -> None:
    await box.start()
    await box.lose()
    (figures,) = await figures_of(house.service.parts, EMBEDDED_ORG)
    assert (figures.memory_bytes, figures.idle_ms) == (None, None)
