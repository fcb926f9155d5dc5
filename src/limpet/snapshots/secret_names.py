"""Which files are likely to hold secrets, told by their names alone. Pure."""

import re
from typing import Final

_NAMES: Final = re.compile(
    rb"\.env(\..*)?|.*\.env|\.netrc|\.npmrc|\.pypirc|\.pgpass|\.git-credentials|\.htpasswd"
    rb"|id_(rsa|dsa|ecdsa|ed25519)|.*\.(pem|key|p12|pfx|jks|keystore|kdbx|ppk)"
    rb"|\.?credentials(\.json)?|service[-_]account.*\.json|secrets?\.(json|ya?ml|toml)",
    re.IGNORECASE,
)
_HARMLESS: Final = re.compile(rb"\.env\.(example|sample|template|dist)", re.IGNORECASE)


def holds_secrets(path: bytes) -> bool:
    """Whether a file of this path is on the secret list: `.env*`, keys, credential files."""
    name = path.rpartition(b"/")[2]
    return bool(_NAMES.fullmatch(name)) and not _HARMLESS.fullmatch(name)
