"""What an agent's process is told of the run's model, in the variables that such programs read."""

from collections.abc import Mapping, Sequence
from typing import Final

from limpet.harness.base import ModelChoice, ProviderKind
from limpet.harness.tools import ModelGateway, SandboxTools

KEYS: Final[Mapping[ProviderKind, Sequence[str]]] = {
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"),
    "openai": ("OPENAI_API_KEY",),
    "openai-compatible": ("OPENAI_API_KEY",),
    "google": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "bedrock": (),
}
"""Where agents look for a key of the provider's."""
PREFIXES: Final[Mapping[ProviderKind, str]] = {
    "anthropic": "anthropic/",
    "openai": "openai/",
    "openai-compatible": "openai/",
    "google": "google/",
    "bedrock": "amazon-bedrock/",
}
"""How agents of many providers begin a model's name."""
_SET: Final = 'for name; do if printenv "$name" >/dev/null; then echo "$name"; fi; done'


def environment_of(model: ModelChoice, gateway: ModelGateway) -> dict[str, str]:
    """The run's gateway in place of the provider. Its token is worth nothing anywhere else."""
    url, token = gateway.url, gateway.token
    match model.provider:
        case "anthropic":
            return {
                "ANTHROPIC_BASE_URL": url,
                "ANTHROPIC_API_KEY": token,
                "ANTHROPIC_AUTH_TOKEN": token,
                "ANTHROPIC_MODEL": model.name,
            }
        case "openai" | "openai-compatible":
            return {
                "OPENAI_BASE_URL": f"{url}/v1",
                "OPENAI_API_KEY": token,
                "OPENAI_MODEL": model.name,
            }
        case "google" | "bedrock":
            return {}  # what speaks these is not handed through


async def variables_set(tools: SandboxTools, names: Sequence[str]) -> set[str]:
    """Which of the variables the sandbox's processes have; no value is looked at."""
    if not names:
        return set()
    found = bytearray()
    async with tools.process(["sh", "-c", _SET, "sh", *names]) as process:
        await process.end_input()
        async for piece in process.output():
            found += piece
        await process.wait()
    return set(found.decode(errors="replace").split()) & set(names)
