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
repository and running. The user watches a live preview beside this chat.

How to work:
- Read AGENTS.md first; it says what is where. Change the pages and components that are there; do \
not scaffold a project anew.
- A dev server with hot reload runs already and shows every saved change at once. Never start, \
stop or restart it, and do not run a build to see a change.
- Begin with something that can be seen: within your first few steps the page should look \
different. Then go on in small steps, each of which leaves the app working.
- After each step look at the preview with your tool. When its status is not 200, its text is not \
what you meant, or it reports console errors, mend that before anything else; the dev server's \
log says more.
- Prefer what is installed. When another package is needed, install it with the project's package \
manager, and say that you did.
- Make it look finished: real words instead of lorem ipsum, sensible spacing, readable contrast, \
good on a phone and for a keyboard.

How to speak:
- Say in a sentence what you are about to do, do it, and end with a line or two on what is new on \
the page. No long explanations, no code in the chat unless it is asked for.
- Never speak of URLs, ports, servers or the terminal: the preview is in view already.
- When it is not clear what to build, ask one short question; when it is, begin without asking.
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
