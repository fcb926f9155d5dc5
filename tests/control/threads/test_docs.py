"""docs/threads.md has every operation and every event, and no other."""

import re
from pathlib import Path

from limpet.control.operations import mcp_servers, model_providers, threads
from limpet.harness.events import EVENTS

PAGE = (Path(__file__).parents[3] / "docs/threads.md").read_text()


def test_every_operation_is_documented_with_its_route() -> None:
    for operation in (*threads.OPERATIONS, *model_providers.OPERATIONS, *mcp_servers.OPERATIONS):
        family, _, last = operation.name.rpartition("_")
        assert f"`{operation.name}`" in PAGE or (f"`_{last}`" in PAGE and family in PAGE)
        assert operation.path in PAGE


def test_every_kind_of_event_is_documented_with_its_fields() -> None:
    schema = EVENTS.json_schema()["$defs"]
    kinds = {
        model["properties"]["kind"]["const"]: set(model["properties"]) - {"kind"}
        for model in schema.values()
        if "kind" in model.get("properties", {})
    }
    kinds.pop("state_kept")  # never shown
    table = PAGE.split("| kind | fields |")[1].split("\n\n")[0]
    told: dict[str, set[str]] = {}
    for row in table.splitlines()[2:]:
        names, fields = row.strip("| ").split(" | ")
        for name in re.findall(r"`(\w+)`", names):
            told[name] = set(re.findall(r"`(\w+)`", fields.split(":")[0]))
    assert told == kinds
