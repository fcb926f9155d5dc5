"""`make live`: the live scenarios against real models, for each provider whose key is set."""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path

from limpet.harness.base import CappedError, Caps, ModelChoice, ModelError, Turn
from limpet.harness.decopilot import Decopilot
from limpet.harness.events import Notice, ToolStarted, Usage
from tests.harness.driving import put
from tests.harness.folder_tools import FolderTools
from tests.models.scenario import Scenario, load, names

CAPS = Caps(time_s=240, cost_usd=1.0, requests=30)
_VARIABLES = """\
  ANTHROPIC_API_KEY                    (LIMPET_LIVE_ANTHROPIC_MODEL, default claude-sonnet-4-6)
  OPENAI_API_KEY                       (LIMPET_LIVE_OPENAI_MODEL, default gpt-5-mini)
  GEMINI_API_KEY                       (LIMPET_LIVE_GOOGLE_MODEL, default gemini-2.5-flash)
  LIMPET_LIVE_BASE_URL and LIMPET_LIVE_MODEL, for an OpenAI-compatible server such as Ollama
                                       (LIMPET_LIVE_KEY where it wants one)"""


def choices(environ: Mapping[str, str]) -> list[ModelChoice]:
    """The models that can be asked."""
    found = []
    if key := environ.get("ANTHROPIC_API_KEY"):
        name = environ.get("LIMPET_LIVE_ANTHROPIC_MODEL", "claude-sonnet-4-6")
        found.append(ModelChoice("anthropic", name, key))
    if key := environ.get("OPENAI_API_KEY"):
        name = environ.get("LIMPET_LIVE_OPENAI_MODEL", "gpt-5-mini")
        found += [
            ModelChoice("openai", name, key),
            ModelChoice("openai-compatible", name, key, "https://api.openai.com/v1"),
        ]
    if key := environ.get("GEMINI_API_KEY"):
        name = environ.get("LIMPET_LIVE_GOOGLE_MODEL", "gemini-2.5-flash")
        found.append(ModelChoice("google", name, key))
    url, name = environ.get("LIMPET_LIVE_BASE_URL"), environ.get("LIMPET_LIVE_MODEL")
    if url and name:
        key = environ.get("LIMPET_LIVE_KEY")
        found.append(ModelChoice("openai-compatible", name, key, url))
    return found


async def asked(choice: ModelChoice, scenario: Scenario, folder: Path) -> str:
    """Have a model do a scenario; what is wrong with what came of it, or nothing."""
    put(folder, scenario.files)
    turn = Turn("live", scenario.prompt, "You edit small web projects.", choice, CAPS)
    tools: list[str] = []
    usage = None
    began = time.monotonic()
    try:
        async with aclosing(Decopilot().run(turn, FolderTools(folder))) as events:
            async for event in events:
                if isinstance(event, ToolStarted):
                    tools.append(event.name)
                elif isinstance(event, Usage):
                    usage = event
                elif isinstance(event, Notice):
                    print(f"    notice: {event.text}")
    except (ModelError, CappedError) as error:
        return str(error)
    if usage is not None:
        cost = "price unknown" if usage.cost_usd is None else f"{usage.cost_usd:.4f} USD"
        tokens = f"{usage.input_tokens} + {usage.output_tokens} tokens"
        took = f"{time.monotonic() - began:.0f} s, {usage.requests} requests"
        print(f"    {took}, {tokens}, {cost}; tools: {', '.join(tools)}")
    for name, text in scenario.expected.files.items():
        at = folder / name
        found = at.read_text() if at.is_file() else None
        if found is None or found.strip() != text.strip():
            return f"{name} is {found!r}, not {text!r}"
    return ""


async def main() -> int:
    """The number of scenarios that went wrong."""
    models = choices(os.environ)
    if not models:
        print(f"live: skipped, no real model is at hand. Set one of:\n{_VARIABLES}")
        return 0
    wrong = done = 0
    for choice in models:
        for name in names():
            scenario = load(name)
            if not scenario.live:
                continue
            print(f"{choice.provider} {choice.name}: {name}, {scenario.says}")
            with tempfile.TemporaryDirectory(prefix="limpet-live-") as folder:
                complaint = await asked(choice, scenario, Path(folder))
            done += 1
            if complaint:
                wrong += 1
                print(f"    WRONG: {complaint}")
    print(f"live: {done - wrong} of {done} scenarios came out right")
    return wrong


if __name__ == "__main__":
    sys.exit(min(asyncio.run(main()), 1))
