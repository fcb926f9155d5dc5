"""An agent's egress policy as the API takes and gives it."""

from pydantic import Field

from limpet.control.operations.shapes import Input, Output
from limpet.runners.egress import MAX_HOSTS, EgressMode


class EgressChoice(Input):
    """`open`: everything but what no sandbox may reach. `listed`: `hosts`, with `registries` those
    that package managers install from, and the clone URL's own. `closed`: nothing.

    A host is `example.com`, `*.example.com` for all below it, or an address; `:port` after it where
    it is none of the web's.
    """

    mode: EgressMode
    hosts: list[str] = Field(default=[], max_length=MAX_HOSTS)
    registries: bool = True


class EgressInfo(Output):
    """Where the agent's sandboxes may connect to. `is_default`: as the operator has set it."""

    mode: EgressMode
    hosts: list[str]
    registries: bool
    is_default: bool
