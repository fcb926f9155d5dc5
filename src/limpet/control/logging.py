"""Structured logs without secrets: what may be one is blotted out, whatever logs it."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from limpet.control.settings import Settings

BLOT = "[hidden]"
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:token|password|passwd|secret|authorization|cookie|api_?key|credentials?|sealed)s?$",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"(?P<userinfo>(?<=://)[^/\s@\"']+(?=@))"
    r"|(?P<key>\blmp_[0-9a-f]{12}_[0-9a-f]{8,})"
    r"|(?P<bearer>(?<=bearer )[^\s\"',]+)"
    r"|(?P<query>(?<=[?&]token=)[^&\s\"']+)",
    re.IGNORECASE,
)


def without_secrets(text: str) -> str:
    """`text` with credentials in URLs, API keys, bearers and sign-in tokens blotted out."""
    return _SECRET_TEXT.sub(BLOT, text)


def _blot(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Any:
    return {
        name: BLOT if _SECRET_NAME.search(name) else _blotted(value)
        for name, value in event.items()
    }


def _blotted(value: object) -> object:
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, dict):
        return {
            name: BLOT if _SECRET_NAME.search(str(name)) else _blotted(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_blotted(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return without_secrets(str(value))


def configure_logging(settings: Settings) -> None:
    """Send our logs and the libraries' to standard error, one line each."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    as_text = settings.log_format == "text" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _blot,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if as_text else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
