"""The Python client of the control plane's REST API.

from limpet.sdk import Client

with Client.discover() as limpet:
    agent = limpet.create_agent(template="webapp", title="My shop")
    limpet.start(agent["id"])
"""

from limpet.sdk.client import Client
from limpet.sdk.connection import (
    Connection,
    NotRunningError,
    NotServingError,
    Place,
    ServerError,
    discover,
)
from limpet.sdk.feed import EventFeed
from limpet.sdk.sse import Event

__all__ = [
    "Client",
    "Connection",
    "Event",
    "EventFeed",
    "NotRunningError",
    "NotServingError",
    "Place",
    "ServerError",
    "discover",
]
