"""Loopback servers that speak models' real wire protocols, scripted by scenario files."""
