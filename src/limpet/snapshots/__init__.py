"""Snapshots: a workspace to bytes and back, verified. Knows stores by interface, no HTTP."""
