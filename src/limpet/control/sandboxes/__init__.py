"""Sandboxes: how they start, are saved, stop, and come home."""
