"""A receipt as a sandbox claims it: taken over as far as it is one, and no longer than a head is.

What can be counted here is counted here; what only the sandbox knows (what it skipped, what changed
while it read) is its word.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from limpet.snapshots.receipt import Receipt, Remark
from limpet.snapshots.remarks import LISTED
from limpet.snapshots.wire import StreamBrokenError

MAX_RECEIPT_BYTES: Final = 256 << 10
_PATH_CHARS: Final = 1024
_REASON_CHARS: Final = 200
_REASONS: Final = 20
_COUNTS: Final = 100
_MOST: Final = 1 << 63


def claimed_receipt(claimed: Mapping[str, Any]) -> Receipt:
    """The receipt of a save, without what we count ourselves; `StreamBrokenError` if it is none."""
    try:
        because = tuple(_text(one, _REASON_CHARS) for one in _list(claimed, "incomplete_because"))
        receipt = Receipt(
            "save",
            duration_ms=_number(claimed.get("duration_ms", 0)),
            complete=_flag(claimed.get("complete", False)) and not because,
            incomplete_because=because[:_REASONS],
            skipped=_remarks(claimed, "skipped"),
            torn=_remarks(claimed, "torn"),
            healed=_remarks(claimed, "healed"),
            ignored=_remarks(claimed, "ignored"),
            dropped=_numbers(claimed, "dropped"),
            counts=_numbers(claimed, "counts"),
            relocated=_flag(claimed.get("relocated", False)),
            live=_flag(claimed.get("live", True)),
        )
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise StreamBrokenError("The stream's receipt is none") from error
    return _shortened(receipt)


def _shortened(receipt: Receipt) -> Receipt:
    """With as many remarks as fit; the counts still tell how many there were."""
    most = LISTED
    while most and len(json.dumps(receipt.as_dict())) > MAX_RECEIPT_BYTES:
        most //= 2
        receipt = replace(
            receipt,
            skipped=receipt.skipped[:most],
            torn=receipt.torn[:most],
            healed=receipt.healed[:most],
            ignored=receipt.ignored[:most],
        )
    return receipt


def _list(claimed: Mapping[str, Any], name: str) -> list[Any]:
    given = claimed.get(name, [])
    if not isinstance(given, list):
        raise TypeError(name)
    return given[:LISTED]


def _remarks(claimed: Mapping[str, Any], name: str) -> tuple[Remark, ...]:
    return tuple(
        Remark(_text(one["path"], _PATH_CHARS), _text(one["reason"], _REASON_CHARS))
        for one in _list(claimed, name)
    )


def _numbers(claimed: Mapping[str, Any], name: str) -> dict[str, int]:
    given = claimed.get(name, {})
    if not isinstance(given, dict) or len(given) > _COUNTS:
        raise TypeError(name)
    return {_text(what, _REASON_CHARS): _number(number) for what, number in given.items()}


def _text(given: object, most: int) -> str:
    if not isinstance(given, str):
        raise TypeError("a text")
    plain = given.encode("utf-8", "replace").decode()
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"


def _number(given: object) -> int:
    if type(given) is not int or not 0 <= given < _MOST:
        raise ValueError("a number")
    return given


def _flag(given: object) -> bool:
    if not isinstance(given, bool):
        raise TypeError("a flag")
    return given
