"""How git is told credentials: by descriptor, for one origin, and nowhere else.

They are in no argument, environment, URL, file or log; git asks a program for them that answers
only what is about the host that they are for.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from limpet.daemon.config_model import Credentials

# Answers git's questions from the descriptor whose number is in the environment, and only those
# that are about the host that the credentials are for.
_ASKPASS: Final = """\
#!/bin/sh
{ IFS= read -r user; IFS= read -r password; } < "/dev/fd/$LIMPET_GIT_FD"
case "$1" in
  "Username for '$LIMPET_GIT_ORIGIN'"*) printf '%s\\n' "$user" ;;
  "Password for '$LIMPET_GIT_USER_ORIGIN'"*) printf '%s\\n' "$password" ;;
  *) exit 1 ;;
esac
"""


@dataclass(frozen=True, slots=True)
class Access:
    """Credentials and the one origin (`https://host[:port]`) that may be told them."""

    url: str
    credentials: Credentials

    @property
    def origin(self) -> str:
        """Where they may be sent."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def user_origin(self) -> str:
        """How git calls the origin when it knows the user's name."""
        parts = urlsplit(self.url)
        name = quote(self.credentials.username, safe="-._~!$&'()*+,;=")
        return f"{parts.scheme}://{name}@{parts.netloc}"


@contextlib.contextmanager
def askpass(access: Access | None) -> Iterator[tuple[tuple[int, ...], dict[str, str]]]:
    """Descriptors and variables that let git ask for `access`; no secret is in the variables."""
    if access is None:
        yield (), {}
        return
    lines = f"{access.credentials.username}\n{access.credentials.password}\n".encode()
    with contextlib.ExitStack() as stack:
        secret = _in_memory(stack, "limpet-git", lines * 16)
        program, path = _program(stack)
        fds = (secret,) if program is None else (secret, program)
        yield (
            fds,
            {
                "GIT_ASKPASS": path,
                "LIMPET_GIT_FD": str(secret),
                "LIMPET_GIT_ORIGIN": access.origin,
                "LIMPET_GIT_USER_ORIGIN": access.user_origin,
            },
        )


def _in_memory(stack: contextlib.ExitStack, name: str, data: bytes) -> int:
    """A readable descriptor of `data` that no folder knows."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create(name)
        stack.callback(os.close, fd)
        os.write(fd, data)
        os.lseek(fd, 0, os.SEEK_SET)
        return fd
    read, write = os.pipe()  # lines are taken out of a pipe: that is why there are many
    stack.callback(os.close, read)
    with os.fdopen(write, "wb") as pipe:
        pipe.write(data)
    return read


def _program(stack: contextlib.ExitStack) -> tuple[int | None, str]:
    """The askpass program: in memory where it runs from there, else a file without secrets."""
    if hasattr(os, "memfd_create"):
        fd = _in_memory(stack, "limpet-askpass", _ASKPASS.encode())
        return fd, f"/proc/self/fd/{fd}"
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="limpet-")))
    path = folder / "askpass"
    path.write_text(_ASKPASS)
    path.chmod(0o700)
    return None, str(path)
