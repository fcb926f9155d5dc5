"""The bundled templates: what the 'Web app' tile and `limpet new` begin with.

Each is a folder with a `template.json` `{name, title, description}`; everything beside that file
is the start of a repository.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import structlog

from limpet.errors import InvalidInputError, NotFoundError

MANIFEST = "template.json"
_PACKAGE = Path(__file__).resolve().parent.parent
_PLACES = (_PACKAGE / "assets" / "templates", _PACKAGE.parent.parent / "templates")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")

INSTRUCTIONS = """\
You build a web app together with the user, starting from the template that is already in the \
repository.

- The app is running. A dev server with hot reload shows every saved change at once: do not start, \
stop or restart it, and do not scaffold a project anew. Change the pages and components that are \
there.
- The user watches a live preview beside this chat. Do not speak of URLs, ports or servers; say \
what changed on the page.
- Work in small steps that can be seen, and prefer doing over long explanations. When it is not \
clear what to build, ask one short question, then begin.
- Keep the app working after every step: look at the log when something may have broken, and mend \
it before going on.
"""


@dataclass(frozen=True, slots=True)
class Template:
    """One template. `folder` holds its files, and `template.json`, which is not part of them."""

    name: str
    title: str
    description: str
    folder: Path
    instructions: str = INSTRUCTIONS


class TemplateCatalog:
    """The templates of one folder, read anew on each call: there are few of them."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or next((place for place in _PLACES if place.is_dir()), _PLACES[0])

    def list(self) -> list[Template]:
        """All templates, by name. One that cannot be read is left out and logged."""
        if not self.folder.is_dir():
            return []
        found = []
        for manifest in sorted(self.folder.glob(f"*/{MANIFEST}")):
            try:
                found.append(_read(manifest))
            except (OSError, ValueError, KeyError, TypeError) as error:
                structlog.get_logger().warning(
                    "template_unreadable", template=manifest.parent.name, error=str(error)
                )
        return found

    def get(self, name: str) -> Template:
        """The template called `name`, or `NotFoundError` that lists those there are."""
        if not _NAME.fullmatch(name):
            raise InvalidInputError(f"{name[:80]!r} is no template's name")
        templates = self.list()
        for template in templates:
            if template.name == name:
                return template
        known = ", ".join(template.name for template in templates) or "none"
        raise NotFoundError(f"There is no template {name!r}", hint=f"Templates: {known}.")


def _read(manifest: Path) -> Template:
    data = json.loads(manifest.read_text(encoding="utf-8"))
    name = manifest.parent.name
    if not isinstance(data, dict):
        raise ValueError("it is no JSON object")
    if data.get("name", name) != name or not _NAME.fullmatch(name):
        raise ValueError(f"its name is not that of its folder ({name})")
    return Template(
        name=name,
        title=str(data["title"]),
        description=str(data.get("description", "")),
        folder=manifest.parent,
        instructions=str(data.get("instructions", INSTRUCTIONS)),
    )
