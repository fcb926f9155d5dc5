"""All heads of an org as they lie in a store, readable or not: for those who look after it."""

import json
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from limpet.errors import InvalidInputError
from limpet.ids import AgentId, Branch, OrgId
from limpet.snapshots.ahead import each
from limpet.snapshots.lineage import (
    LEGACY_GENERATION,
    MAX_HEAD_BYTES,
    BranchRef,
    Head,
    Lineage,
    decode_head,
)
from limpet.stores.base import SandboxStore
from limpet.stores.keys import TEMPLATES, TEMPLATES_ORG, head_key, legacy_tar_key, safe_org

_AT_ONCE: Final = 16
_GROUP: Final = 64
_KEY: Final = re.compile(r"v1/[^/]+/heads/[^/]+/.+~(?:|side-[0-9a-f]{12})/[0-9]{12}")


@dataclass(frozen=True, slots=True)
class StoredHead:
    """An object where a head should be. `head` when it is one, else `why` it cannot be used."""

    key: str
    body: bytes
    head: Head | None
    why: str = ""
    belongs: str | None = None
    """The key of the place that it names, when it lies elsewhere."""


def heads_folder(org: OrgId) -> str:
    """What the keys of all heads of an org begin with."""
    return f"v1/{safe_org(org)}/heads/"


def stored_head_key(head: Head) -> str:
    """Where the head lies; of a tar of the older layout, which has none, where the tar does."""
    ref = head.ref
    if head.generation == LEGACY_GENERATION:
        return legacy_tar_key(ref.org, ref.agent, ref.branch)
    return head_key(ref.org, ref.agent, ref.branch, head.generation, head.lineage)


def is_head_key(key: str) -> bool:
    """Whether a head can lie there."""
    return _KEY.fullmatch(key) is not None


async def read_heads(store: SandboxStore, keys: Iterable[str]) -> AsyncIterator[StoredHead]:
    """The heads at these keys, in order, a few read at a time; one that has gone is passed over."""

    async def read(key: str) -> StoredHead | None:
        chunks = await store.get(key, length=MAX_HEAD_BYTES + 1)
        if chunks is None:
            return None
        return judge_head(key, b"".join([chunk async for chunk in chunks]))

    for group in _groups(keys):
        for found in await each(group, read, at_once=_AT_ONCE):
            if found is not None:
                yield found


def judge_head(key: str, body: bytes) -> StoredHead:
    """What lies at `key`."""
    try:
        told: Any = json.loads(body)
        ref = BranchRef(OrgId(told["org"]), AgentId(told["agent"]), Branch(told["branch"]))
        lineage, generation = Lineage(told["lineage"]), told["generation"]
        belongs = head_key(ref.org, ref.agent, ref.branch, generation, lineage)
    except (ValueError, KeyError, TypeError, AttributeError, InvalidInputError, RecursionError):
        return StoredHead(key, body, None, "it cannot be read")
    found = decode_head(body, ref, lineage, generation)
    if not isinstance(found, Head):
        return StoredHead(key, body, None, found.why)
    if belongs != key:
        return StoredHead(key, body, None, "it belongs elsewhere", belongs)
    return StoredHead(key, body, found)


async def orgs_in(store: SandboxStore) -> list[OrgId]:
    """Every org that has anything in the store and whose name can be told, the templates' last.

    A name that is no safe one lies there as a hash: its heads tell what it is.
    """
    found: dict[str, OrgId | None] = {}
    async for one in store.list("v1/"):
        folder = one.key.split("/")[1]
        if found.get(folder) is not None:
            continue
        if folder == TEMPLATES:
            if is_head_key(one.key):
                found[folder] = TEMPLATES_ORG
        elif "~" not in folder:
            if not folder.startswith("_"):  # the operator's
                found[folder] = OrgId(folder)
        elif is_head_key(one.key):
            async for head in read_heads(store, [one.key]):
                if head.head is not None and safe_org(head.head.ref.org) == folder:
                    found[folder] = head.head.ref.org
    return sorted(org for org in found.values() if org is not None)


def _groups(keys: Iterable[str]) -> Iterable[Sequence[str]]:
    group: list[str] = []
    for key in keys:
        group.append(key)
        if len(group) == _GROUP:
            yield group
            group = []
    if group:
        yield group
