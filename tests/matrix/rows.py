"""The rows of the matrix: which project, with which tools, and what is expected of it. Data alone.

Every project shows `Hello, limpet`; a row's edit turns it into `Changed, limpet`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

BEFORE: Final = "Hello, limpet"
AFTER: Final = "Changed, limpet"

Reload = Literal["module", "page", "server"]
"""How an edit shows: in the page that is open, by the page loading itself anew, or in the next
request of a server that starts itself again."""


@dataclass(frozen=True, slots=True)
class Row:
    """One project's journey. `source` is the file that is edited.

    `bound` says that what is installed is bound to its path, so that a relocated workspace installs
    again. `application` is what is configured beside the clone URL.
    """

    name: str
    source: str
    reload: Reload
    tools: tuple[str, ...] = ()
    project: str = ""
    bound: bool = False
    installs: bool = True
    application: Mapping[str, Any] = field(default_factory=dict)
    said: str = ""
    """What the setup's log must have said."""

    @property
    def socket(self) -> bool:
        """Whether a client in the page hears of changes over a WebSocket."""
        return self.reload != "server" and self.name != "static"

    @property
    def folder(self) -> str:
        """The project's folder below `projects/`."""
        return self.project or self.name


ROWS: Final = (
    Row("static", "index.html", "page", installs=False),
    Row("vite-react", "src/App.jsx", "module"),
    Row("next", "app/page.jsx", "module"),
    Row("sveltekit", "src/routes/+page.svelte", "module"),
    Row("express", "server.js", "server"),
    Row("astro", "src/pages/index.astro", "page", ("pnpm",), bound=True),
    Row("webpack", "src/text.js", "module", ("yarn1",)),
    Row("yarn-modules", "text.js", "module", ("yarn4",)),
    Row("yarn-pnp", "text.js", "module", ("yarn4",)),
    Row("bun-vite", "text.js", "module", ("bun",)),
    Row("bun-serve", "index.ts", "server", ("bun",)),
    Row("deno", "main.ts", "server", ("deno",), installs=False),
    Row("flask-pip", "app.py", "server", bound=True),
    Row("fastapi-pip", "main.py", "server", bound=True),
    Row("django-pip", "urls.py", "server", bound=True),
    Row("procfile", "web.py", "server", bound=True),
    Row("fastapi-uv", "main.py", "server", ("uv",), bound=True),
    Row("poetry", "page.html", "server", ("poetry",), bound=True),
    Row(
        "workspaces-npm", "packages/words/text.js", "module",
        said="apps/web is the one package with a 'dev' script",
    ),
    Row(
        "workspaces-pnpm", "packages/words/text.js", "module", ("pnpm10",), bound=True,
        application={"packageManager": {"path": "apps/web"}},
    ),
    Row("workspaces-yarn4", "packages/words/text.js", "module", ("yarn4",)),
    Row(
        "workspaces-bun", "packages/words/text.js", "module", ("bun",),
        said="packages/web is the one package with a 'dev' script",
    ),
    Row(
        "workspace-uv", "packages/words/src/words/__init__.py", "server", ("uv",), bound=True,
        application={"packageManager": {"path": "packages/web"}},
    ),
)  # fmt: skip
