"""Limpet: sandboxes for coding agents that always come home."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("limpet")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"
