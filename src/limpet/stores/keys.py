"""Keys: which names they are made of, and where each kind of object lies below the prefix.

Pure functions. Distinct inputs give distinct keys, also on a file system that folds case, and no
key is a path prefix of another.

A *safe part* is made of lower-case ASCII letters, digits, `.`, `_` and `-`, does not begin with a
dot and is at most 128 bytes long. Any other name becomes what is safe of it, `~`, and a hash of the
original; `~` is in no safe name, so a name that only looks hashed is hashed itself.
"""

import hashlib
import re
from typing import Literal

from limpet.errors import InvalidInputError
from limpet.ids import AgentId, Branch, OrgId, SnapshotId

MAX_PART_LENGTH = 128
GENERATION_DIGITS = 12
MAX_GENERATION = 10**GENERATION_DIGITS - 1
_HASH_LENGTH = 24
_SAFE = re.compile(r"[a-z0-9_-][a-z0-9._-]*")
_UNSAFE_RUN = re.compile(r"[^a-z0-9._-]+")
_LINEAGE = re.compile(r"main|side-[0-9a-f]{12}")
_PACK = re.compile(r"[0-9a-f]{64}")
TEMPLATES = "_templates"
"""The operator's space, which every org can read."""
TEMPLATES_ORG = OrgId("~templates")
"""Stands for that space where an org is asked for; no org can be called so (`~` is in no id)."""
_SNAPSHOT = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def safe_name(name: str) -> str:
    """`name` as one part of a key; raises `InvalidInputError` when it is empty."""
    if not name:
        raise InvalidInputError("An empty name cannot be part of a key")
    if len(name) <= MAX_PART_LENGTH and _SAFE.fullmatch(name):
        return name
    return _hashed(name)


def _hashed(name: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]
    kept = _UNSAFE_RUN.sub("-", name.lower()).strip(".-")
    return f"{kept[: MAX_PART_LENGTH - _HASH_LENGTH - 1]}~{digest}"


def safe_branch(branch: str) -> str:
    """A branch as parts of a key: its `/` stays a separator."""
    return "/".join(safe_name(part) for part in branch.split("/"))


def safe_org(org: OrgId) -> str:
    """An org as one part of a key.

    Names that begin with `_` are the operator's (`_templates`, `_doctor`), so an org that is called
    so gets a hash.
    """
    if org == TEMPLATES_ORG:
        return TEMPLATES
    return _hashed(org) if org.startswith("_") else safe_name(org)


def heads_root(org: OrgId, agent: AgentId, branch: Branch) -> str:
    """What all heads of a branch, of every lineage, begin with."""
    return f"v1/{safe_org(org)}/heads/{safe_name(agent)}/{safe_branch(branch)}~"


def heads_prefix(org: OrgId, agent: AgentId, branch: Branch, lineage: str = "main") -> str:
    """What the heads of one lineage begin with.

    The main one is `<branch>~/`, a side one `<branch>~side-<12 hex digits>/`; a hashed part ends in
    hex digits alone, so none of them is another branch.
    """
    if not _LINEAGE.fullmatch(lineage):
        raise InvalidInputError(f"{lineage[:80]!r} is no lineage")
    root = heads_root(org, agent, branch)
    return f"{root}/" if lineage == "main" else f"{root}{lineage}/"


def head_key(
    org: OrgId, agent: AgentId, branch: Branch, generation: int, lineage: str = "main"
) -> str:
    """The head of a generation (from 1 on); zero-padded, so that keys sort as numbers do."""
    if not 0 < generation <= MAX_GENERATION:
        raise InvalidInputError(f"{generation} is no generation")
    return f"{heads_prefix(org, agent, branch, lineage)}{generation:0{GENERATION_DIGITS}}"


def tar_key(org: OrgId, agent: AgentId, branch: Branch, snapshot: SnapshotId) -> str:
    """A plain snapshot."""
    if not _SNAPSHOT.fullmatch(snapshot):
        raise InvalidInputError(f"{snapshot[:80]!r} is no snapshot id")
    return f"v1/{safe_org(org)}/tars/{safe_name(agent)}/{safe_branch(branch)}~/{snapshot}.tar"


def names_prefix(org: OrgId) -> str:
    """What the keys of all names that people gave to the org's snapshots begin with."""
    return f"v1/{safe_org(org)}/names/"


def branch_names_prefix(org: OrgId, agent: AgentId, branch: Branch) -> str:
    """What the keys of the names of one branch's snapshots begin with."""
    return f"{names_prefix(org)}{safe_name(agent)}/{safe_branch(branch)}~/"


def name_key(org: OrgId, agent: AgentId, branch: Branch, snapshot: SnapshotId) -> str:
    """Where the name that people gave to a snapshot lies."""
    if not _SNAPSHOT.fullmatch(snapshot):
        raise InvalidInputError(f"{snapshot[:80]!r} is no snapshot id")
    return f"{branch_names_prefix(org, agent, branch)}{snapshot}"


def thumbnails_prefix(org: OrgId) -> str:
    """What the keys of all thumbnails of the org's agents begin with."""
    return f"v1/{safe_org(org)}/thumbnails/"


def thumbnail_key(org: OrgId, agent: AgentId) -> str:
    """Where the small picture of an agent's preview lies."""
    return f"{thumbnails_prefix(org)}{safe_name(agent)}"


def condemned_prefix(org: OrgId) -> str:
    """What the keys of all records of what is to be deleted begin with."""
    return f"v1/{safe_org(org)}/condemned/"


def condemned_key(org: OrgId, record: str) -> str:
    """Where a record of what is to be deleted lies."""
    if not _SNAPSHOT.fullmatch(record):
        raise InvalidInputError(f"{record[:80]!r} is no record's id")
    return f"{condemned_prefix(org)}{record}"


def pack_key(org: OrgId, kind: Literal["data", "tree"], name: str, *, shared: bool = False) -> str:
    """A pack of data or tree blobs, in the org's space or, when `shared`, in the templates'."""
    return f"{packs_prefix(org, kind, shared=shared)}{_pack_name(name)}"


def packs_prefix(org: OrgId, kind: Literal["data", "tree"], *, shared: bool = False) -> str:
    """What the keys of all packs of a kind begin with."""
    space = TEMPLATES if shared else safe_org(org)
    return f"v1/{space}/{'packs' if kind == 'data' else 'trees'}/"


def _pack_name(name: str) -> str:
    if not _PACK.fullmatch(name):
        raise InvalidInputError(f"{name[:80]!r} is no pack's name")
    return name


def legacy_tar_key(org: OrgId, agent: AgentId, branch: Branch) -> str:
    """Where the older layout kept a branch's one tar; read, never written."""
    return f"{safe_org(org)}/{safe_name(agent)}/{safe_branch(branch)}.tar"


def check_key(key: str) -> str:
    """`key` itself, or `InvalidInputError` when a part of it could leave the store's space."""
    parts = key.split("/")
    if len(key.encode("utf-8", "surrogatepass")) > 1000 or not all(
        part and not part.startswith(".") and re.fullmatch(r"[a-z0-9._~-]+", part) for part in parts
    ):
        raise InvalidInputError(f"{key[:200]!r} is not a key")
    return key
