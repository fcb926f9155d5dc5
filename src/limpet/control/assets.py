"""The web app's files, with deep links answered by its one page."""

import re
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

_PACKAGE = Path(__file__).resolve().parent.parent
_PLACES = (_PACKAGE / "assets" / "web", _PACKAGE.parent.parent / "web" / "dist")
_HASHED = re.compile(r"/assets/.+-[A-Za-z0-9_-]{8,}\.[a-z0-9]+")
FOREVER = "public, max-age=31536000, immutable"
ALWAYS_ASK = "no-cache"
_NOT_BUILT = """<!doctype html><meta charset="utf-8"><title>Limpet</title>
<p>The server runs, but the web app is not built. Run <code>make setup</code> and reload.</p>
"""


class WebApp:
    """Serves the folder with the web app's build, if there is one."""

    def __init__(self, folder: Path | None = None) -> None:
        found = (place for place in _PLACES if (place / "index.html").is_file())
        self.folder = (folder or next(found, _PLACES[0])).resolve()

    async def answer(self, request: Request) -> Response:
        """The file at this path; the page itself for a path that only the web app knows.

        Hashed files may be kept for ever, all others are asked for each time. A missing file is
        404, never the page: a browser must not take HTML for a script.
        """
        path = request.url.path
        file = self._file(path)
        if file is not None:
            caching = FOREVER if _HASHED.fullmatch(path) else ALWAYS_ASK
            return FileResponse(file, headers={"Cache-Control": caching})
        if "." in path.rsplit("/", 1)[-1] or path.startswith(("/assets/", "/api", "/mcp")):
            raise HTTPException(404)
        page = self.folder / "index.html"
        if not page.is_file():
            return HTMLResponse(_NOT_BUILT, status_code=503)
        return FileResponse(page, headers={"Cache-Control": ALWAYS_ASK})

    def _file(self, path: str) -> Path | None:
        if "\0" in path:
            return None
        candidate = (self.folder / path.lstrip("/")).resolve()
        inside = candidate.is_relative_to(self.folder)
        return candidate if inside and candidate.is_file() else None
