"""Clone URLs: https only, judged by a strict reader, credentials taken out of them at once.

Git, browsers and libraries read odd URLs differently, so what is not plainly one thing is
refused: only printable ASCII, one scheme, names that DNS allows, no query, no fragment. What is
accepted is written anew in one form. No error here repeats any part of the URL.
"""

import ipaddress
import json
import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_to_bytes

from limpet.control.db import AgentRow
from limpet.control.secrets import SecretBox
from limpet.errors import InvalidInputError

MAX_LENGTH = 2048
CREDENTIALS_PURPOSE = "clone credentials"
_ALLOWED = re.compile(r"[!#$%&'()*+,\-./:;=?@A-Z\[\]_a-z~0-9]*")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HINT = "Give the address as https://host/owner/repository."


class CloneUrlError(InvalidInputError):
    """A clone URL that is not plainly an https address of a repository."""

    code = "bad_clone_url"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the git server wants to see. Not shown by repr."""

    username: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CloneUrl:
    """`public` is safe to show, log and store; `credentials` are neither."""

    public: str
    credentials: Credentials | None = None

    @property
    def display_name(self) -> str:
        """`host/owner/repository`, for people."""
        return self.public.removeprefix("https://").removesuffix("/").removesuffix(".git")

    @property
    def title(self) -> str:
        """The repository's own name."""
        name = unquote_to_bytes(self.display_name.rsplit("/", 1)[-1]).decode("utf-8", "replace")
        return "".join(c if c.isprintable() else "\ufffd" for c in name)

    @property
    def authenticated(self) -> str:
        """The URL with its credentials, for git's eyes only."""
        if self.credentials is None:
            return self.public
        user = quote(self.credentials.username, safe="")
        password = quote(self.credentials.password, safe="")
        return f"https://{user}:{password}@{self.public.removeprefix('https://')}"


def parse_clone_url(
    text: str, *, username: str | None = None, password: str | None = None
) -> CloneUrl:
    """`text` as a clone URL; raises `CloneUrlError` for everything that is not plainly one.

    Credentials may be in the URL or beside it, not both.
    """
    if len(text) > MAX_LENGTH:
        raise _refused(f"is longer than {MAX_LENGTH} characters")
    if not text:
        raise _refused("is empty")
    if not _ALLOWED.fullmatch(text):
        raise _refused(
            "holds characters that may not stand in one (spaces, control characters, backslashes, "
            "quotes, or letters outside ASCII: write those as %-escapes, a host's as xn--)"
        )
    if text[:8].lower() != "https://":
        raise _refused("does not begin with https://")
    if _BAD_ESCAPE.search(text):
        raise _refused("holds a % that begins no escape")
    if "?" in text or "#" in text:
        raise _refused("has a query or a fragment")
    authority, slash, path = text[8:].partition("/")
    userinfo, at, host_and_port = authority.rpartition("@")
    if "@" in userinfo:
        raise _refused("has more than one @ before its host")
    public = f"https://{_host_and_port(host_and_port)}/{_path(slash + path)}"
    inside = _userinfo(userinfo) if at else None
    beside = _beside(username, password)
    if inside and beside:
        raise _refused("has credentials in it and others beside it")
    return CloneUrl(public, inside or beside)


def seal_credentials(credentials: Credentials | None, box: SecretBox, org: str) -> bytes | None:
    """What the database may hold of `credentials`."""
    if credentials is None:
        return None
    plain = json.dumps({"username": credentials.username, "password": credentials.password})
    return box.seal(plain, purpose=CREDENTIALS_PURPOSE, org=org)


def clone_url_of(agent: AgentRow, box: SecretBox) -> CloneUrl | None:
    """The agent's clone URL with its credentials opened, or None when it has none.

    Raises `UnsealError` when the credentials were sealed with a key that is gone.
    """
    if agent.clone_url is None:
        return None
    if agent.clone_credentials_sealed is None:
        return CloneUrl(agent.clone_url)
    plain = box.open(agent.clone_credentials_sealed, purpose=CREDENTIALS_PURPOSE, org=agent.org_id)
    return CloneUrl(agent.clone_url, Credentials(**json.loads(plain)))


def _refused(why: str) -> CloneUrlError:
    return CloneUrlError(f"The clone URL {why}", hint=_HINT)


def _host_and_port(text: str) -> str:
    if text.startswith("["):
        inside, bracket, rest = text[1:].partition("]")
        try:
            host = f"[{ipaddress.IPv6Address(inside)}]"
        except ValueError:
            raise _refused("has brackets around what is no IPv6 address") from None
        if not bracket or "%" in inside or (rest and not rest.startswith(":")):
            raise _refused("has a malformed IPv6 address")
        port = rest[1:] if rest else None
    else:
        name, colon, number = text.partition(":")
        host, port = _host(name.lower()), number if colon else None
    if port is None:
        return host
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise _refused("has a malformed port")
    return host if int(port) == 443 else f"{host}:{int(port)}"


def _host(name: str) -> str:
    labels = name.split(".")
    if not name or len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _refused("has no host name that DNS allows")
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise _refused("has a number for a host that is no plain IPv4 address") from None
    return name


def _path(path: str) -> str:
    parts = path.removeprefix("/").removesuffix("/").split("/")
    for part in parts:
        plain = unquote_to_bytes(part)
        if plain in {b"", b".", b".."}:
            raise _refused("names no repository, or has an empty part, '.' or '..' in its path")
        if b"/" in plain or b"\\" in plain or any(byte < 0x20 or byte == 0x7F for byte in plain):
            raise _refused("hides a slash, backslash or control character in an escape")
        try:
            plain.decode()
        except UnicodeDecodeError:
            raise _refused("has escapes that are no UTF-8") from None
    return "/".join(quote(unquote_to_bytes(part), safe="!$&'()*+,;=:@~") for part in parts)


def _userinfo(userinfo: str) -> Credentials:
    user, _, password = userinfo.partition(":")
    try:
        return _checked(unquote_to_bytes(user).decode(), unquote_to_bytes(password).decode())
    except UnicodeDecodeError:
        raise _refused("has credentials that are no UTF-8") from None


def _beside(username: str | None, password: str | None) -> Credentials | None:
    if username is None and password is None:
        return None
    return _checked(username or "", password or "")


def _checked(username: str, password: str) -> Credentials:
    """Credentials that git's line-based protocol can carry."""
    if not username and not password:
        raise _refused("has empty credentials")
    if any(ord(c) < 0x20 or ord(c) == 0x7F for c in username + password):
        raise _refused("has control characters in its credentials")
    if len(username) > MAX_LENGTH or len(password) > MAX_LENGTH:
        raise _refused("has credentials that are too long")
    return Credentials(username, password)
