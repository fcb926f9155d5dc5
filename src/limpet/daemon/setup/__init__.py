"""Bringing a workspace up: clone, checkout, install, dev server, each skipped when it is there."""
