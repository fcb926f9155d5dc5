"""Names of branches: which are git branches, which are synthetic, and how one is made up."""

import re
import secrets

from limpet.errors import InvalidInputError
from limpet.ids import Branch

MAX_BRANCH_LENGTH = 200
_ALLOWED = re.compile(r"[A-Za-z0-9._/-]+")
_ADJECTIVES = (
    "amber brave bright brisk calm clear coral cosy crisp deep eager early easy fair fleet fond "
    "fresh gentle glad golden grand green happy hardy keen kind light lively lucky lunar mellow "
    "merry mild neat noble pearly plain proud quick quiet ready round salty silver smooth snug "
    "steady sunny swift tidal"
).split()
_NOUNS = (
    "anchor barnacle bay beach beacon breeze cliff clam cockle comet cove crab crest current dune "
    "eddy ferry fjord gull harbor haven heron inlet island kelp lagoon lantern limpet marina mast "
    "mussel oyster pebble pier pool puffin quay reef ripple sail sandbar seal shell shoal shore "
    "skiff spray starfish swell wave"
).split()


def is_synthetic(branch: str) -> bool:
    """Whether `branch` names no git branch: `ephemeral`, or `thread:<id>`."""
    return branch == "ephemeral" or branch.startswith("thread:")


def check_branch(name: str) -> Branch:
    """`name` as a branch, or `InvalidInputError`.

    The rules are git's check-ref-format(1) for the characters `[A-Za-z0-9._/-]`; synthetic names
    are let through.
    """
    if is_synthetic(name) and re.fullmatch(r"ephemeral|thread:[A-Za-z0-9_-]{1,128}", name):
        return Branch(name)
    parts = name.split("/")
    sound = (
        0 < len(name) <= MAX_BRANCH_LENGTH
        and _ALLOWED.fullmatch(name) is not None
        and not name.startswith("-")
        and ".." not in name
        and name != "HEAD"
        and all(
            part and not part.startswith(".") and not part.endswith((".", ".lock"))
            for part in parts
        )
    )
    if not sound:
        raise InvalidInputError(
            f"{name[:80]!r} is not a branch name",
            hint="Use letters, digits, '.', '_', '-' and '/', as git allows them.",
        )
    return Branch(name)


def made_up_branch() -> Branch:
    """A fresh default branch, `limpet/<adjective>-<noun>`."""
    return Branch(f"limpet/{secrets.choice(_ADJECTIVES)}-{secrets.choice(_NOUNS)}")
