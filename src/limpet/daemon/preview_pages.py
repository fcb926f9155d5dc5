"""The pages that stand in for a preview while there is none. Pure.

Each looks anew by itself, with a header that keeps its looking from counting as anybody's work, and
shows what the log says meanwhile.
"""

import html
import json
import re
from typing import Final

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
:root {{ --back: #fbfaf8; --ink: #23211d; --soft: #6d6860; --line: #e3dfd8; --mark: #b4552d; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --back: #171614; --ink: #ece8e1; --soft: #a09a90; --line: #34312c; --mark: #e08a5f; }}
}}
* {{ box-sizing: border-box; }}
body {{
  margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 24px;
  background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif;
}}
main {{ max-width: 34rem; width: 100%; text-align: center; }}
h1 {{ font-size: 1.25rem; font-weight: 600; margin: 0 0 .5rem; text-wrap: balance; }}
p {{ margin: 0; color: var(--soft); text-wrap: pretty; }}
pre {{
  margin: 1.25rem 0 0; padding: .875rem 1rem; max-height: 40vh; overflow: auto; text-align: left;
  font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, monospace; white-space: pre-wrap;
  border: 1px solid var(--line); border-radius: 8px; overflow-wrap: anywhere;
}}
pre:focus-visible {{ outline: 2px solid var(--mark); outline-offset: 2px; }}
.mark {{ width: 44px; height: 44px; margin: 0 auto 1.25rem; color: var(--mark); }}
.mark.busy path {{ animation: tide 1.8s ease-in-out infinite alternate; }}
.mark path:nth-child(2) {{ animation-delay: .25s; }}
.mark path:nth-child(3) {{ animation-delay: .5s; }}
@keyframes tide {{ from {{ opacity: .25; }} to {{ opacity: 1; }} }}
@media (prefers-reduced-motion: reduce) {{ .mark.busy path {{ animation: none; }} }}
</style>
<noscript><meta http-equiv="refresh" content="2"></noscript>
</head>
<body>
<main>
<svg class="mark {busy}" viewBox="0 0 44 44" fill="none" stroke="currentColor" stroke-width="3"
 stroke-linecap="round" aria-hidden="true"><path d="M4 37 L22 8 L40 37"/><path d="M14 37 L22 22"/>
<path d="M30 37 L22 22"/></svg>
<div role="status">
<h1>{title}</h1>
<p>{text}</p>
</div>
{detail}
</main>
<script>
(function () {{
  var mine = {page}, pause = {pause_ms};
  function toEnd() {{
    var log = document.querySelector("pre");
    if (log) log.scrollTop = log.scrollHeight;
  }}
  function renew(text) {{
    var main = document.querySelector("main");
    var fresh = new DOMParser().parseFromString(text, "text/html").querySelector("main");
    if (!fresh || fresh.innerHTML === main.innerHTML) return;
    var log = main.querySelector("pre"), told = fresh.querySelector("pre");
    if (log && told) {{
      var atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
      if (log.textContent !== told.textContent) log.textContent = told.textContent;
      if (atEnd) toEnd();
    }} else {{
      main.innerHTML = fresh.innerHTML;
      toEnd();
    }}
  }}
  function look() {{
    var asked = {{ Accept: "text/html", "X-Limpet-Page": mine }};
    fetch(location.href, {{ cache: "no-store", headers: asked }}).then(function (r) {{
      if (r.headers.get("x-limpet-page") === mine) {{
        setTimeout(look, pause);
        return r.text().then(renew);
      }}
      if (r.status === 502) setTimeout(look, pause); else location.reload();
    }}).catch(function () {{ setTimeout(look, pause); }});
  }}
  toEnd();
  setTimeout(look, pause);
}})();
</script>
</body>
</html>
"""

_TITLES: Final = {
    "cloning": ("Getting the code", "The repository is being cloned."),
    "checking-out": ("Getting the code", "The branch is being checked out."),
    "installing": ("Installing dependencies", "The dev server starts right after."),
    "needs-credentials": ("Waiting for credentials", "The repository asks who is there."),
    "clone-failed": ("The code could not be fetched", "The setup log says why."),
    "install-failed": ("The install failed", "The setup log says why."),
    "start-failed": ("The dev server does not start", "Its log says why."),
}
_FAILED: Final = frozenset({"needs-credentials", "clone-failed", "install-failed", "start-failed"})
_ESCAPES: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?"
)
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
TAIL_LINES: Final = 40
TAIL_CHARACTERS: Final = 4000


def no_server(phase: str, log: str = "") -> tuple[str, str]:
    """The page for when there is no port to go to, and its name."""
    name = f"none-{phase}"
    if phase not in _TITLES:
        text = "When one starts, it shows here by itself."
        return _page("No dev server running", text, name, pause_ms=2000), name
    title, text = _TITLES[phase]
    shown = f"No dev server running: {title[0].lower()}{title[1:]}"
    busy = phase not in _FAILED
    return _page(shown, text, name, detail=log, busy=busy, pause_ms=2000), name


def no_port(port: int) -> tuple[str, str]:
    """The page for a port that nothing of the sandbox listens on, and its name."""
    text = "When something does, it shows here by itself."
    return _page(f"Nothing listens on port {port}", text, "no-port", pause_ms=2000), "no-port"


def starting(phase: str = "starting", log: str = "") -> tuple[str, str]:
    """The page for when the dev server does not answer yet, or no more, and its name."""
    if phase == "crashed":
        title, text = "The dev server crashed", "It starts again by itself, and shows here then."
        return _page(title, text, phase, detail=log, busy=True, pause_ms=1000), phase
    text = "The page appears as soon as the dev server answers."
    page = _page("Server is starting…", text, "starting", detail=log, busy=True, pause_ms=1000)
    return page, "starting"


def no_page(content_type: str) -> tuple[str, str]:
    """The page for a server that has no web page at `/`, and its name."""
    text = "The server answers, but not with a web page. That is how an API looks from here."
    detail = f"Content-Type: {content_type or 'none'}"
    return _page(
        "No web page at this URL", text, "no-page", detail=detail, pause_ms=2000
    ), "no-page"


def tail(log: str) -> str:
    """The end of a log as plain text: no colours, and of a line drawn over and over its last."""
    plain = _ESCAPES.sub("", log[-8 * TAIL_CHARACTERS :].replace("\r\n", "\n"))
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in plain.split("\n")]
    lines = [_CONTROLS.sub("", line).rstrip() for line in lines]
    kept = "\n".join(lines).strip("\n").split("\n")[-TAIL_LINES:]
    return "\n".join(kept)[-TAIL_CHARACTERS:]


def _page(
    title: str, text: str, name: str, *, pause_ms: int, detail: str = "", busy: bool = False
) -> str:
    return _PAGE.format(
        title=html.escape(title),
        text=html.escape(text),
        detail=_log(tail(detail)),
        busy="busy" if busy else "",
        page=json.dumps(name),
        pause_ms=pause_ms,
    )


def _log(text: str) -> str:
    """What may scroll can be reached by keyboard."""
    if not text:
        return ""
    return f'<pre tabindex="0" role="log" aria-label="Log">{html.escape(text)}</pre>'
