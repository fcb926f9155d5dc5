"""Snapshots in a bucket, beside the tools that people keep backups there with."""
