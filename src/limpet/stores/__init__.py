"""Blob stores. They know keys and bytes; nothing else."""
