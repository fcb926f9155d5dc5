"""Tells a model that goes round in circles from one that works."""

from hashlib import blake2b
from typing import Literal

_LONGEST_CIRCLE = 4
NOTICE_AT = 4
"""So many rounds of the same, and the model is told."""
STOP_AT = 8
"""So many rounds of the same, and the run ends."""

Verdict = Literal["fine", "circling", "hopeless"]


class Repetition:
    """Watches the tool calls of a run with what came of them.

    A call that gives something new each time, such as a log that grows, is no circle; nor is a test
    that is run again after an edit: the edits differ.
    """

    def __init__(self) -> None:
        self._seen: list[bytes] = []

    def saw(self, name: str, arguments: str, output: str) -> Verdict:
        """Note a call, and say whether the last ones are one circle, of up to four calls."""
        digest = blake2b(digest_size=16)
        for part in (name, arguments, output):
            digest.update(len(part).to_bytes(8, "big") + part.encode("utf-8", "surrogatepass"))
        self._seen = [*self._seen[1 - _LONGEST_CIRCLE * STOP_AT :], digest.digest()]
        rounds = max(self._rounds(length) for length in range(1, _LONGEST_CIRCLE + 1))
        if rounds >= STOP_AT:
            return "hopeless"
        return "circling" if rounds >= NOTICE_AT else "fine"

    def _rounds(self, length: int) -> int:
        """How many times the last `length` calls came one after the other."""
        circle = self._seen[-length:]
        rounds = 0
        end = len(self._seen)
        while end >= length and self._seen[end - length : end] == circle:
            rounds += 1
            end -= length
        return rounds
