"""How much of a text a model or a person is given."""

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
