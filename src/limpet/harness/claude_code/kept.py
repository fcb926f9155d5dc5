"""What is kept of a thread between turns: the CLI's session, and what was said, should it be lost.

The session itself is a file in the sandbox's home, which is saved with the workspace: it goes back
with it as well, further than the thread does.
"""

from collections.abc import Sequence
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from limpet.harness.base import Exchange
from limpet.harness.bounds import cut

_MOST_EXCHANGES: Final = 30
_MOST_CHARS: Final = 4_000

_BEFORE: Final = """\
<earlier_conversation>
{told}
</earlier_conversation>

"""
_EXCHANGE: Final = "The user: {prompt}\n\nYou: {answer}"
_GO_ON: Final = """\
(You were cut off in the middle of this turn: the control plane died. What you did may be done in \
part or whole: look before you do it again, then go on. The message that you were answering:)

{prompt}"""
_ROLLED_BACK: Final = """\
(In this turn you rolled the workspace back. {words} Your own notes of the turn went back with it. \
Go on with the message that you were answering; do not roll back again for it.)

{prompt}"""


class Said(BaseModel):
    """A turn in plain words."""

    prompt: str
    answer: str = ""


class Kept(BaseModel):
    """`asked`: the message of the run is in the session, or was on its way there."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    session: str = ""
    run: str = ""
    asked: bool = False
    said: list[Said] = Field(default_factory=list)

    @classmethod
    def of(cls, state: JsonValue) -> "Kept":
        """What was kept. Raises `ValueError` for what was never ours."""
        if state is None:
            return cls()
        try:
            return cls.model_validate(state)
        except ValidationError as error:
            raise ValueError("not a thread of Claude Code") from error

    def keep(self) -> JsonValue:
        """What `of` takes."""
        state: JsonValue = self.model_dump(mode="json")
        return state

    def tell(self, history: Sequence[Exchange]) -> None:
        """Take up turns that another harness had."""
        for exchange in history:
            self.said.append(Said(prompt=exchange.prompt, answer=exchange.answer))
        self._bound()

    def begin(self, prompt: str) -> None:
        """A turn of ours."""
        self.said.append(Said(prompt=prompt))
        self._bound()

    def answer(self, text: str) -> None:
        """What was said in the turn that began last."""
        self.said[-1].answer = cut(text, _MOST_CHARS)

    def _bound(self) -> None:
        del self.said[:-_MOST_EXCHANGES]
        for said in self.said:
            said.prompt = cut(said.prompt, _MOST_CHARS)
            said.answer = cut(said.answer, _MOST_CHARS)


def with_earlier(said: Sequence[Said], prompt: str) -> str:
    """A prompt, after turns that the session does not hold."""
    if not said:
        return prompt
    told = "\n\n".join(
        _EXCHANGE.format(prompt=one.prompt, answer=one.answer or "(no answer)") for one in said
    )
    return _BEFORE.format(told=told) + prompt


def going_on(prompt: str) -> str:
    """For a turn whose control plane died."""
    return _GO_ON.format(prompt=prompt)


def rolled_back(prompt: str, words: str) -> str:
    """For a turn that brought its own workspace back."""
    return _ROLLED_BACK.format(prompt=prompt, words=words)
