"""Limpet: sandboxes for coding agents that always come home."""

__version__ = "0.1.0"
