import json
from pathlib import Path

import pytest

from limpet.control.templates import INSTRUCTIONS, TemplateCatalog
from limpet.errors import InvalidInputError, NotFoundError


def add(folder: Path, place: str, **manifest: object) -> None:
    (folder / place).mkdir(parents=True)
    (folder / place / "template.json").write_text(json.dumps(manifest))


def test_templates_are_found_by_name_with_defaults(tmp_path: Path) -> None:
    add(tmp_path, "webapp", name="webapp", title="Web app", description="A page")
    add(tmp_path, "api", title="API", instructions="Build an API.")
    catalog = TemplateCatalog(tmp_path)
    assert [t.name for t in catalog.list()] == ["api", "webapp"]
    assert catalog.get("webapp").instructions == INSTRUCTIONS
    assert catalog.get("webapp").folder == tmp_path / "webapp"
    assert catalog.get("api").instructions == "Build an API."


def test_templates_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    add(tmp_path, "good", title="Good")
    add(tmp_path, "other", name="good", title="Lies about its name")
    add(tmp_path, "untitled")
    add(tmp_path, "Upper", title="x")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "template.json").write_text("[1, 2]")
    assert [t.name for t in TemplateCatalog(tmp_path).list()] == ["good"]


def test_a_missing_folder_is_an_empty_catalog(tmp_path: Path) -> None:
    catalog = TemplateCatalog(tmp_path / "none")
    assert catalog.list() == []
    with pytest.raises(NotFoundError):
        catalog.get("webapp")


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "A", "x\n", "-x"])
def test_names_that_are_none_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError):
        TemplateCatalog(tmp_path).get(name)


def test_the_default_instructions_fit_a_person_who_watches_the_preview() -> None:
    for word in ("hot reload", "Never start", "preview", "URLs, ports"):
        assert word in INSTRUCTIONS
