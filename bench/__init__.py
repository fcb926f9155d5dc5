"""Benchmarks against peers: one command each, ratios in one run."""
