"""The Python client of the control plane's REST API."""
