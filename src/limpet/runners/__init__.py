"""Runners: what provisions sandboxes somewhere, one file a runner, behind one protocol."""
