"""What a model's failure means: ask again, ask for less, or tell people what to mend."""

import re
from dataclasses import dataclass

from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelNotFoundError,
    ModelOverloadedError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelRequestRejectedError,
    ModelRequestTimeout,
    ModelServerError,
    ModelUnavailableError,
    UnexpectedModelBehavior,
    UserError,
)

from limpet.harness.base import ModelChoice
from limpet.harness.decopilot.providers import NAMES

_MOST_WORDS = 300


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed request, in words for people, and what can be done by ourselves.

    `again`: the same request may succeed later, after `wait_s` where the provider said so.
    `too_long`: a shorter thread may. `rejected`: another request may.
    """

    words: str
    again: bool = False
    wait_s: float | None = None
    too_long: bool = False
    rejected: bool = False


class CutOffError(Exception):
    """An answer that ended before the model had ended it."""


def failure_of(error: Exception, choice: ModelChoice) -> Failure:
    """What the failure means. Its words never hold the key."""
    who = NAMES[choice.provider]
    who = who[0].upper() + who[1:]
    wait_s = error.retry_after if isinstance(error, ModelAPIError) else None
    match error:
        case ModelContextWindowExceededError():
            return Failure("The thread is too long for the model.", too_long=True)
        case ModelHTTPError(status_code=413):
            return Failure("The thread is too long for the provider.", too_long=True)
        case ModelAuthenticationError():
            return Failure(
                f"{who} refuses the key, or it may not use {choice.name}. "
                "Check the key in the settings of models."
            )
        case ModelNotFoundError():
            return Failure(
                f"{who} knows no model {choice.name}. Check the model's name"
                + (" and the base URL." if choice.base_url else ".")
            )
        case ModelQuotaExceededError():
            return Failure(f"The account at {who} has no quota or credit left. Top it up there.")
        case ModelRateLimitError():
            return Failure(f"{who} limits how fast it may be asked.", again=True, wait_s=wait_s)
        case ModelOverloadedError():
            return Failure(f"{who} is overloaded.", again=True, wait_s=wait_s)
        case ModelUnavailableError() | ModelServerError():
            return Failure(f"{who} fails at the moment.", again=True, wait_s=wait_s)
        case ModelConnectionError(phase="connect"):
            return Failure(f"{who} cannot be reached{_at(choice)}.", again=True)
        case ModelConnectionError() | CutOffError():
            return Failure(f"{who} broke off its answer.", again=True)
        case ModelRequestTimeout():
            return Failure(f"{who} took too long to answer.", again=True)
        case ModelHTTPError(status_code=408 | 409 | 425):
            return Failure(f"{who} asks to be asked again.", again=True, wait_s=wait_s)
        case ModelRequestRejectedError() | ModelHTTPError():
            said = said_by(error, choice)
            return Failure(f"{who} refuses the request{said}", rejected=True)
        case UserError():
            return Failure(f"{who} cannot be sent this thread as {choice.name}.", rejected=True)
        case UnexpectedModelBehavior():
            return Failure(f"{who} answered with what is no answer of its protocol.", again=True)
        case _:
            return Failure(f"{who} broke off its answer.", again=True)


def said_by(error: ModelAPIError, choice: ModelChoice) -> str:
    """A provider's own words about a refusal, without anything that looks like a key."""
    body = error.body
    inner = body.get("error", body) if isinstance(body, dict) else body
    words = inner.get("message") if isinstance(inner, dict) else inner
    if not isinstance(words, str) or not words.strip():
        return f" of {choice.name}."
    if choice.api_key:
        words = words.replace(choice.api_key, "[key]")
    words = re.sub(r"\b(?:sk|key|pk|AIza)[-_A-Za-z0-9*]{8,}", "[key]", words)
    return f": {' '.join(words.split())[:_MOST_WORDS]}"


def _at(choice: ModelChoice) -> str:
    """The host of a base URL, without what may be hidden in the rest of it."""
    host = re.match(r"https?://(?:[^/@]*@)?([^/?#]+)", choice.base_url or "")
    return f" at {host[1]}" if host else ""
