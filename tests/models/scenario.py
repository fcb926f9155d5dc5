"""A scenario: what a person asks, what lies in the project, what the model does, what comes of it.

One file serves every protocol. `live` ones are also asked of real models: their prompts are plain
and what is expected of the files does not hang on a model's words.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FOLDER = Path(__file__).parent / "scenarios"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Call(_Part):
    """A tool call. `raw` in place of `input`: the arguments as they are, such as broken ones."""

    tool: str
    input: dict[str, Any] = Field(default_factory=dict)
    raw: str | None = None
    id: str | None = None


class Error(_Part):
    """An HTTP error, or with `in_stream` one that comes after the answer has begun."""

    status: int
    kind: Literal["plain", "too_long", "quota"] = "plain"
    retry_after: float | None = None
    in_stream: bool = False


class Tokens(_Part):
    """What the server says that a request took; `input` with what came from the cache."""

    input: int = 1000
    output: int = 100
    cached: int = 0


class Reply(_Part):
    """What the model does when it is asked once, or `times` times.

    `cut_after`: the connection breaks after so many events, or half of them. `hold_after`: nothing
    comes after so many, until whoever asked has gone.
    """

    thinking: str | None = None
    text: str | None = None
    calls: tuple[Call, ...] = ()
    ends: Literal["stop", "length"] = "stop"
    tokens: Tokens = Tokens()
    error: Error | None = None
    cut_after: int | Literal["half"] | None = None
    hold_after: int | None = None
    times: int = 1


class Expected(_Part):
    """What holds after the turn: texts that files have, tools that were called, words said."""

    files: dict[str, str] = Field(default_factory=dict)
    tools: tuple[str, ...] = ()
    answer: str = ""
    failed_calls: int = 0


class Scenario(_Part):
    """One file of `scenarios/`."""

    says: str
    prompt: str
    files: dict[str, str] = Field(default_factory=dict)
    replies: tuple[Reply, ...]
    expected: Expected = Expected()
    live: bool = False


def names() -> list[str]:
    """Of all scenarios."""
    return sorted(file.stem for file in FOLDER.glob("*.json"))


def load(name: str) -> Scenario:
    """A scenario by its name."""
    return Scenario.model_validate_json((FOLDER / f"{name}.json").read_bytes())
