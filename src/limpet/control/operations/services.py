"""What operations work with: the parts of one open control plane."""

from dataclasses import dataclass

from limpet.control.agents import Agents
from limpet.control.auth import Authenticator
from limpet.control.db import Database
from limpet.control.env_secrets import EnvSecrets
from limpet.control.mcp_servers import McpServers
from limpet.control.pictures.thumbnails import Thumbnails
from limpet.control.preview_sharing import PreviewSharing
from limpet.control.pruner import Pruner
from limpet.control.sandboxes.service import SandboxService
from limpet.control.settings import Settings
from limpet.control.templates import TemplateCatalog
from limpet.control.threads.service import ThreadService
from limpet.control.usage import OrgUsage
from limpet.runners.base import Runner
from limpet.stores.base import SandboxStore


@dataclass(frozen=True, slots=True)
class Services:
    """Made by limpet.control.app, handed to every operation. `settings.port` is the real one."""

    settings: Settings
    database: Database
    authenticator: Authenticator
    agents: Agents
    env_secrets: EnvSecrets
    mcp_servers: McpServers
    templates: TemplateCatalog
    store: SandboxStore
    runner: Runner
    sandboxes: SandboxService
    previews: PreviewSharing
    pruner: Pruner
    usage: OrgUsage
    threads: ThreadService
    thumbnails: Thumbnails
