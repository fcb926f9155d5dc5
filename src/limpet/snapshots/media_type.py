"""The name of the packed form on the wire; apart, as the daemon tells it before it needs more."""

from typing import Final

MEDIA_TYPE: Final = "application/vnd.limpet.snapshot.v1"
