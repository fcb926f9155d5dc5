"""Turns the dev server's own address, in a tag of a page, into the one that the browser knows.

A framework that makes absolute addresses from `Host` makes them of `localhost:<port>`. Pure.
"""

import re
from collections.abc import Callable
from typing import Final

_HOST: Final = re.compile(r"[a-z0-9.-]+(?::[0-9]{1,5})?", re.IGNORECASE)
_OWN: Final = (
    rb"(?<![\w.-])https?://(?:localhost|127\.0\.0\.1|\[::1\]|0\.0\.0\.0):%d"
    rb"(?=[/?#\"'\s>,;)&])"
)


def address_mender(port: int, scheme: str, host: str) -> Callable[[bytes], bytes]:
    """What makes `<scheme>://<host>` of `http://localhost:<port>` and the like in a tag.

    A host that could not stand in a page as it is (the request names it) changes nothing.
    """
    if not _HOST.fullmatch(host) or scheme not in {"http", "https"}:
        return bytes
    own = re.compile(_OWN % port, re.IGNORECASE)
    public = f"{scheme}://{host}".encode()

    def mend(tag: bytes) -> bytes:
        return own.sub(public, tag)

    return mend
