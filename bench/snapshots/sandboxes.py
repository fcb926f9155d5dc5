"""A thousand sandboxes of one template: what the store holds of them."""

import asyncio
import random
from pathlib import Path

from bench.snapshots.ours import repository_of
from bench.snapshots.tools import stored_bytes
from limpet.control.sandboxes.streams import from_thread
from limpet.ids import AgentId, Branch, OrgId
from limpet.snapshots.delta import stream_delta
from limpet.snapshots.lineage import BranchRef
from limpet.snapshots.statcache import StatCaches
from limpet.stores.keys import TEMPLATES_ORG

EDIT_BYTES = 1000
ORGS = 10


def begin_many(workspace: Path, scratch: Path, count: int) -> dict[str, int]:
    """Begin `count` sandboxes, in ten orgs, from a template's snapshot; each with an edit.

    Gives their count, and bytes: of the template, of the whole store, and of the edits.
    """
    return asyncio.run(_begin_many(workspace, scratch / "sandboxes", count))


async def _begin_many(workspace: Path, state: Path, count: int) -> dict[str, int]:
    repository = repository_of(state)
    stream = stream_delta(
        workspace, caches=StatCaches(state.with_name("sandboxes.caches")), base=None,
        fields={"activity_seq": 1, "boot_id": "bench"},
    )  # fmt: skip
    saved = await repository.save_packed(
        BranchRef(TEMPLATES_ORG, AgentId("template"), Branch("0")), from_thread(stream),
        base=None, reason="template", parent=None, fencing=1, expected_generation=0,
    )  # fmt: skip
    template_bytes = stored_bytes(state)
    chance = random.Random(1)
    for number in range(count):
        org = OrgId(f"org-{number % ORGS}")
        edits = {
            b".git/HEAD": b"ref: refs/heads/limpet/b-%d\n" % number,
            b"mine": chance.randbytes(EDIT_BYTES),
        }
        ref = BranchRef(org, AgentId(f"agent-{number}"), Branch("main"))
        await repository.begin(saved.head, edits, ref=ref, fencing=1)
    return {
        "count": count,
        "template": template_bytes,
        "all": stored_bytes(state),
        "edits": count * EDIT_BYTES,
    }
