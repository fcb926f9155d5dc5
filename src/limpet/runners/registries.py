"""Where this machine's package managers install from, as they say themselves."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final
from urllib.parse import urlsplit

from limpet.errors import InvalidInputError
from limpet.runners.egress import HostRule

_ANSWERS_WITHIN_S: Final = 20.0
_PIP: Final = """
try:
    from pip._internal.models.index import PyPI
    print(PyPI.simple_url)
    print("https://" + PyPI.file_storage_domain)
except (ImportError, AttributeError):
    pass
"""
_ASKED: Final[Sequence[Sequence[str]]] = (
    ("npm", "config", "get", "registry"),
    ("python3", "-c", _PIP),
    ("python3", "-m", "pip", "config", "get", "global.index-url"),
    ("yarn", "config", "get", "registry"),
    ("yarn", "config", "get", "npmRegistryServer"),
)
_TOLD: Final = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX")


def package_registries(environ: Mapping[str, str]) -> tuple[HostRule, ...]:
    """The hosts of npm's, pip's and yarn's registries, whichever of them are here.

    Blocks for up to some seconds, once for each environment.
    """
    return _found(tuple(sorted(environ.items())))


@cache
def _found(environ: tuple[tuple[str, str], ...]) -> tuple[HostRule, ...]:
    known = dict(environ)
    urls = [url for name in _TOLD for url in known.get(name, "").split()]
    for argv in _ASKED:
        urls += _said(argv, known).split()
    rules = [rule for rule in map(_rule, urls) if rule is not None]
    return tuple(dict.fromkeys(rules))


def _said(argv: Sequence[str], environ: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            argv, env=dict(environ), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=_ANSWERS_WITHIN_S, check=False, cwd=os.sep,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _rule(url: str) -> HostRule | None:
    try:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            return None
        return HostRule.parse(parts.hostname if parts.port is None else parts.netloc.split("@")[-1])
    except (ValueError, InvalidInputError):
        return None
