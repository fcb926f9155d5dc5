"""The harnesses."""
