"""Commands that an agent's settings name: for its app, and for the program that speaks for it."""

import shlex
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

MAX_START_COMMAND_LENGTH = 8000
"""Characters, of four bytes at most: within what the daemon takes."""
MAX_ACP_COMMAND_LENGTH = 2000

StartCommandText = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=MAX_START_COMMAND_LENGTH,
        pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$",
    ),
    Field(
        description="What a shell runs to start the app, in place of what is detected; counts from "
        "the sandbox's next start on. Null: what is detected"
    ),
]


def _splits(command: str) -> str:
    """The command, if a shell could take it apart."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"is no command line: {error}") from None
    if not words or not words[0]:
        raise ValueError("names no program")
    return command


AcpCommandText = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=MAX_ACP_COMMAND_LENGTH,
        pattern=r"^[^\x00-\x1f\x7f]*$",
    ),
    AfterValidator(_splits),
    Field(
        description="What starts an agent that speaks the Agent Client Protocol inside the sandbox "
        "(`opencode acp`), for threads whose harness is `acp`; words as a shell splits them, "
        "though no shell runs it. Null: none"
    ),
]
