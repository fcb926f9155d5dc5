"""What the acts on threads share."""

from dataclasses import dataclass, field

from limpet.control.db import Database, ThreadRow
from limpet.control.mcp_servers import McpServers
from limpet.control.pictures.taking import Pictures
from limpet.control.sandboxes.events import SandboxKey
from limpet.control.sandboxes.service import SandboxService
from limpet.control.threads.caps import CapsBook
from limpet.control.threads.claims import Claims
from limpet.control.threads.console import PreviewConsoles
from limpet.control.threads.harnesses import Harnesses
from limpet.control.threads.hub import ThreadHub
from limpet.control.threads.journal import Journal
from limpet.control.threads.keys import ThreadKey
from limpet.control.threads.npm_programs import NpmPrograms
from limpet.control.threads.providers import Providers
from limpet.ids import AgentId, Branch, OrgId


@dataclass(frozen=True, slots=True)
class ThreadParts:
    """The parts of one control plane that threads are made of."""

    database: Database
    sandboxes: SandboxService
    providers: Providers
    servers: McpServers
    caps: CapsBook
    harnesses: Harnesses
    hub: ThreadHub
    journal: Journal
    claims: Claims
    programs: NpmPrograms
    pictures: Pictures
    consoles: PreviewConsoles = field(default_factory=PreviewConsoles)


def thread_key(row: ThreadRow) -> ThreadKey:
    """Which thread the row is about."""
    return ThreadKey(OrgId(row.org_id), row.id)


def sandbox_key(row: ThreadRow) -> SandboxKey:
    """The sandbox that the thread's runs work in."""
    return SandboxKey(OrgId(row.org_id), AgentId(row.agent_id), Branch(row.branch))
