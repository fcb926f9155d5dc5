"""Threads: conversations with agents, kept as events, and the runs that answer them."""
