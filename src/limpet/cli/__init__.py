"""The limpet command line, over the SDK."""
