"""How much of a text a model or a person is given, and which characters never."""

import re

from pydantic import JsonValue

_UNSHOWABLE = re.compile("[\x00\ud800-\udfff]")

MAX_OUTPUT_CHARS = 30_000
"""Of a tool's output, for the model: about 10,000 tokens."""

MAX_SHOWN_CHARS = 200_000
"""Of what a running command prints, for people."""

MAX_PROJECT_TEXT_CHARS = 20_000
"""Of each of the project's own instruction files."""


def cut(text: str, most: int = MAX_OUTPUT_CHARS) -> str:
    """The text, or its first and last part with a word about how much is left out between."""
    if len(text) <= most:
        return text
    tail = most // 3
    head = most - tail
    return f"{text[:head]}\n[... {len(text) - most} characters left out ...]\n{text[-tail:]}"


def showable_text(text: str) -> str:
    """Text without NULs and halves of characters, which no database or encoding takes."""
    return _UNSHOWABLE.sub("\ufffd", text)


def showable(value: JsonValue) -> JsonValue:
    """The same for JSON."""
    match value:
        case str():
            return showable_text(value)
        case list():
            return [showable(item) for item in value]
        case dict():
            return {showable_text(key): showable(item) for key, item in value.items()}
        case _:
            return value
