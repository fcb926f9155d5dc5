"""What is kept of a thread: the agent's session, and the turns in short for when that is lost."""

from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from limpet.harness.base import Exchange

MAX_TOLD_CHARS: Final = 60_000
MAX_KEPT_CHARS: Final = 20_000
_CUT: Final = " [...]"


class Spoken(BaseModel):
    """One turn in plain words."""

    prompt: str
    answer: str


class Kept(BaseModel):
    """The state of a thread. A `session` belongs to the `command` that made it."""

    model_config = ConfigDict(extra="ignore")
    session: str | None = None
    command: list[str] = []
    turns: list[Spoken] = []
    cost_usd: float | None = None
    """What the agent has said that the session cost in all."""

    @classmethod
    def of(cls, state: JsonValue) -> "Kept":
        """What `keep` gave; nothing where there is nothing, or it cannot be read."""
        try:
            return cls.model_validate(state or {})
        except ValidationError:
            return cls()

    def keep(self) -> JsonValue:
        """As JSON: the latest turns that fit."""
        room = MAX_TOLD_CHARS
        latest: list[Spoken] = []
        for turn in reversed(self.turns):
            room -= len(turn.prompt) + len(turn.answer)
            if room < 0 and latest:
                break
            latest.append(turn)
        kept = self.model_copy(update={"turns": latest[::-1]})
        state: JsonValue = kept.model_dump(mode="json")
        return state

    def add(self, exchanges: Sequence[Exchange]) -> None:
        """Turns that the agent had no part in, or has now."""
        self.turns += [
            Spoken(prompt=_cut(one.prompt), answer=_cut(one.answer)) for one in exchanges
        ]


def in_words(turns: Sequence[Spoken]) -> str:
    """The turns as they are told to an agent that does not know them."""
    told = "\n\n".join(
        f"<user>\n{turn.prompt}\n</user>\n<you>\n{turn.answer}\n</you>" for turn in turns
    )
    return f"Earlier in this conversation:\n\n{told}"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_KEPT_CHARS else text[:MAX_KEPT_CHARS] + _CUT
