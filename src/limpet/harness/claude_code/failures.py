"""What it means that the CLI gave up on a model, in words for people."""

import re
from dataclasses import dataclass
from typing import Final

from limpet.harness.base import ModelChoice

_MOST_WORDS: Final = 300
_IN_VAIN: Final = " It was asked several times in vain: try later, or take another model."
_ONLY_PEOPLE: Final = frozenset({"authentication_failed", "billing_error", "model_not_found"})


@dataclass(frozen=True, slots=True)
class ApiFailure:
    """A failed request, as the CLI tells it: `kind` is its word for it, `status` HTTP's."""

    kind: str = ""
    status: int | None = None
    said: str = ""
    reason: str = ""

    @property
    def for_people(self) -> bool:
        """Whether asking again is of no use until people mend something."""
        return self.kind in _ONLY_PEOPLE or self.status in {401, 403, 404}


def final_words(failure: ApiFailure, choice: ModelChoice) -> str:
    """Why the turn ended, and what to do."""
    who = _who(choice)
    if failure.reason == "prompt_too_long" or failure.status == 413:
        return "The thread is too long for the model. Begin a new thread, or take another model."
    if failure.kind == "authentication_failed" or failure.status in {401, 403}:
        return (
            f"{who} refuses the key, or it may not use {choice.name}. "
            "Check the key in the settings of models."
        )
    if failure.kind == "billing_error":
        return f"The account at {who} has no quota or credit left. Top it up there."
    if failure.kind == "model_not_found" or failure.status == 404:
        where = " and the base URL" if choice.base_url else ""
        return f"{who} knows no model {choice.name}. Check the model's name{where}."
    passing = passing_words(failure, choice)
    if passing:
        return passing + _IN_VAIN
    said = _said(failure.said, choice)
    return f"{who} refuses the request{f': {said}' if said else '.'}"


def passing_words(failure: ApiFailure, choice: ModelChoice) -> str:
    """What is wrong, where it may pass by itself; else empty."""
    who, status = _who(choice), failure.status
    if failure.kind == "rate_limit" or status == 429:
        return f"{who} limits how fast it may be asked."
    if failure.kind == "overloaded" or status == 529:
        return f"{who} is overloaded."
    if status is not None and status >= 500:
        return f"{who} fails at the moment."
    if status is None or failure.kind == "server_error":
        return f"{who} broke off its answer, or cannot be reached."
    if status in {408, 409, 425}:
        return f"{who} asks to be asked again."
    return ""


def _who(choice: ModelChoice) -> str:
    """Anthropic, or the host of who speaks its protocol, without what else the URL may hold."""
    host = re.match(r"https?://(?:[^/@]*@)?([^/?#]+)", choice.base_url or "")
    return f"Anthropic's protocol at {host[1]}" if host else "Anthropic"


def _said(words: str, choice: ModelChoice) -> str:
    """The provider's own words, without anything that looks like a key."""
    if choice.api_key:
        words = words.replace(choice.api_key, "[key]")
    words = re.sub(r"\b(?:sk|key|pk)[-_A-Za-z0-9*]{8,}", "[key]", words)
    return " ".join(words.split())[:_MOST_WORDS]
