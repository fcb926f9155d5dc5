"""Bringing a workspace up: clone, checkout, install, dev server, each skipped when it is there."""

from limpet.daemon.setup.orchestrator import Setup
from limpet.daemon.setup.routes import config_routes, scripts_routes, setup_routes

__all__ = ["Setup", "config_routes", "scripts_routes", "setup_routes"]
