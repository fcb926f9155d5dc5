"""Limpet: sandboxes for coding agents that always come home."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str


def __getattr__(name: str) -> str:
    """The version, read from the installed package only when somebody asks: it takes a while."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("limpet")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0.0.0"
