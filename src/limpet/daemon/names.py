"""How a name that is not UTF-8 travels as text: reversibly, and every other name as it is. Pure.

A byte that is no part of UTF-8 is written as the character U+10F700 + byte, from a plane that is
nobody's. A name that really holds such a character has its bytes written in the same way, so that
two names never look alike.
"""

import os

_BASE = 0x10F700
_LOW, _HIGH = _BASE + 0x80, _BASE + 0xFF


def shown(name: str | bytes) -> str:
    """A name of the file system (bytes, or Python's text of them) as it is sent."""
    if isinstance(name, str):
        if name.isascii():
            return name
        name = os.fsencode(name)
    text = name.decode(errors="surrogateescape")
    if not any(_odd(letter) for letter in text):
        return text
    return "".join(_escaped(letter) for letter in text)


def meant(text: str) -> str:
    """The name that `text` was sent for, as Python writes names that are not UTF-8."""
    if text.isascii() or not any(_LOW <= ord(letter) <= _HIGH for letter in text):
        return text
    data = b"".join(
        bytes((ord(letter) - _BASE,)) if _LOW <= ord(letter) <= _HIGH else letter.encode()
        for letter in text
    )
    return os.fsdecode(data)


def _odd(letter: str) -> bool:
    return "\udc80" <= letter <= "\udcff" or _LOW <= ord(letter) <= _HIGH


def _escaped(letter: str) -> str:
    if not _odd(letter):
        return letter
    return "".join(chr(_BASE + byte) for byte in letter.encode(errors="surrogateescape"))
