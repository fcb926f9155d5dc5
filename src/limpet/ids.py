"""Ids and handles: what names an org, an agent, a branch, a snapshot, a sandbox.

Pure functions. A handle is a DNS label that is the same for the same sandbox on every control
plane, and hard to guess, since agents' ids are random.
"""

import hashlib
import re
import secrets
import time
from typing import NewType

OrgId = NewType("OrgId", str)
UserId = NewType("UserId", str)
AgentId = NewType("AgentId", str)
Branch = NewType("Branch", str)
Handle = NewType("Handle", str)
SnapshotId = NewType("SnapshotId", str)
BootId = NewType("BootId", str)

MAX_HANDLE_LENGTH = 48
_SLUG_LENGTH = 24
_HASH_LENGTH = 16
_NOT_SLUG = re.compile(r"[^a-z0-9]+")


def new_id(prefix: str) -> str:
    """A random id such as `agt_3f9c…` (96 bits), safe in URLs, keys and file names."""
    return f"{prefix}_{secrets.token_hex(12)}"


def new_snapshot_id() -> SnapshotId:
    """A snapshot's id: its UTC second, then 48 random bits, so that ids sort by time."""
    stamp = time.strftime("%Y%m%dt%H%M%Sz", time.gmtime())
    return SnapshotId(f"{stamp}-{secrets.token_hex(6)}")


def handle_for(org: OrgId, agent: AgentId, branch: Branch) -> Handle:
    """The sandbox's handle: `<branch-slug>-<hash>` or `s-<hash>`, `[a-z0-9-]`, at most 48 long."""
    identity = "\0".join((org, agent, branch)).encode()
    digest = hashlib.sha256(identity).hexdigest()[:_HASH_LENGTH]
    last_part = branch.rsplit("/", 1)[-1]
    slug = _NOT_SLUG.sub("-", last_part.lower()).strip("-")[:_SLUG_LENGTH].strip("-")
    return Handle(f"{slug or 's'}-{digest}")
