"""What users can set or call is documented, and what is documented is there."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from limpet.control.settings import PREFIX, Settings
from limpet.daemon.config_model import Transition
from limpet.daemon.events import STATE_ORDER
from limpet.daemon.routes import Route
from limpet.daemon.setup.orchestrator import Phase
from limpet.daemon.setup.routes import ConfigPatch
from tests.daemon.route_table import every_route, fields_of, structs_within

DOCS = Path(__file__).parent.parent / "docs"
DAEMON = Path(__file__).parent.parent / "src/limpet/daemon"
PROTOCOL = "protocol.md"


def section(page: str, heading: str) -> str:
    """The text under a heading of a page."""
    text = (DOCS / page).read_text()
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def rows(text: str, header: str) -> Iterator[list[str]]:
    """The cells of each row of the tables that begin with `header`."""
    inside = False
    for line in text.splitlines():
        if not line.startswith("|"):
            inside = False
        elif line.startswith(f"| {header} |"):
            inside = True
        elif inside and not line.startswith("|---"):
            yield [cell.strip() for cell in line.strip("|").split(" |")]


def ticked(cell: str) -> set[str]:
    """The names that stand alone between back-ticks."""
    return {name.partition(":")[0] for name in re.findall(r"`([A-Za-z][\w-]*(?:: [^`]*)?)`", cell)}


def documented(page: str, heading: str) -> set[str]:
    """The variables in the table under a heading of a page."""
    return {n for row in rows(section(page, heading), "variable") for n in ticked(row[0])}


def test_every_setting_of_the_control_plane_is_documented_and_no_other() -> None:
    settings = {PREFIX + name.upper() for name in Settings.model_fields}
    assert documented("configuration.md", "The control plane (`limpet serve`)") == settings


def test_every_variable_that_the_daemon_reads_is_documented_and_no_other() -> None:
    sources = "".join(file.read_text() for file in DAEMON.rglob("*.py"))
    names = r'"((?:DAEMON_|OFFLOAD_)[A-Z_]*[A-Z]|APP_ROOT|WORKDIR|PROXY_PORT|SANDBOX_ROOT)"'
    read = set(re.findall(names, sources)) | {"LIMPET_WITHOUT"}
    assert documented(PROTOCOL, "Environment") == read


ROUTES = every_route()


def route_rows() -> dict[str, list[str]]:
    """Name of each route in the page, with its cells."""
    page = (DOCS / PROTOCOL).read_text()
    return {row[0].strip("`"): row for row in rows(page, "route")}


def name_of(route: Route) -> str:
    return f"{'/'.join(route.methods)} {route.path}"


def test_every_route_is_documented_and_no_other() -> None:
    assert set(route_rows()) == {name_of(route) for route in ROUTES}


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_a_route_is_what_its_row_says(route: Route) -> None:
    _, work, given, out, also = route_rows()[name_of(route)]
    assert work == route.counts
    inputs = {f for t in (route.input, route.query) if t is not None for f in fields_of(t)}
    if inputs or route.headers:
        known = (
            {"Accept", "Content-Type", "plan", "restore"} if route.body or route.media else set()
        )
        assert ticked(given) - known == inputs | set(route.headers)
    if route.outputs:
        assert ticked(out) == {f for t in route.outputs for f in fields_of(t)}
    assert set(map(int, re.findall(r"\b[2-5]\d\d\b", also))) == set(route.statuses)


def test_every_shape_is_documented_with_its_fields_and_no_other() -> None:
    within: dict[str, set[str]] = {}
    for route in ROUTES:
        for struct in (route.input, route.query, *route.outputs):
            for part in structs_within(struct) if struct is not None else ():
                within[part.__name__] = fields_of(part)
    told = {row[0]: ticked(row[1]) for row in rows(section(PROTOCOL, "Shapes"), "shape")}
    assert told == within


def test_every_event_is_documented_and_no_other() -> None:
    sources = "".join(file.read_text() for file in DAEMON.rglob("*.py"))
    published = set(re.findall(r'\.(?:publish|set_state)\(\s*"([a-z-]+)"', sources))
    published |= set(re.findall(r'_frame\("([a-z-]+)"', sources))
    table = list(rows(section(PROTOCOL, "Events"), "event"))
    assert {row[0].strip("`") for row in table} == published
    assert {row[0].strip("`") for row in table if row[1] == "yes"} == set(STATE_ORDER)


def test_every_phase_and_transition_is_documented_and_no_other() -> None:
    text = section(PROTOCOL, "Setup and config")
    assert {n for row in rows(text, "phase") for n in ticked(row[0])} == set(get_args(Phase))
    told = {n for row in rows(text, "transition") for n in ticked(row[0])}
    assert told == set(get_args(Transition))


def test_every_field_of_the_config_is_documented() -> None:
    found = fields_of(ConfigPatch)
    for part in structs_within(ConfigPatch):
        found |= fields_of(part)
    text = section(PROTOCOL, "Setup and config")
    [patch] = re.findall(r"The patch is `(\{.*?\})`", text, re.DOTALL)
    assert set(re.findall(r"\w+", patch)) == found
