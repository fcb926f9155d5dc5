"""The pages that stand in for a preview, and the script that goes into previews. Pure.

The script tells the frame around it (`limpet:ready`, `limpet:navigation {url, title}`,
`limpet:console {level, text}`, `limpet:error {text, source, line}`, `limpet:unload`) and obeys
`limpet:reload`, `limpet:back`, `limpet:forward`, `limpet:navigate {path}` and, on request,
`visual-editor::activate {script}`: from the app's own origins alone.
"""

import html
import json
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
<h1 role="status">{title}</h1>
<p>{text}</p>
{detail}
</main>
<script>
(function () {{
  var mine = {page}, pause = {pause_ms};
  function look() {{
    fetch(location.href, {{ cache: "no-store", headers: {{ Accept: "text/html" }} }}).then(
      function (r) {{
        var down = r.status === 502 || r.headers.get("x-limpet-page") === mine;
        if (down) setTimeout(look, pause); else location.reload();
      }},
      function () {{ setTimeout(look, pause); }}
    );
  }}
  setTimeout(look, pause);
}})();
</script>
</body>
</html>
"""

_SCRIPT: Final = """<script data-limpet>(function () {
  if (window.__limpet) return;
  window.__limpet = true;
  var apps = __APPS__;
  var inFrame = window.parent !== window;
  function tell(type, more) {
    if (!inFrame) return;
    var message = Object.assign({ type: "limpet:" + type }, more || {});
    (apps || ["*"]).forEach(function (origin) {
      try { window.parent.postMessage(message, origin); } catch (e) {}
    });
  }
  function text(value) {
    if (value instanceof Error) return String(value.stack || value);
    if (typeof value === "string") return value;
    try { return JSON.stringify(value); } catch (e) { return String(value); }
  }
  ["error", "warn"].forEach(function (level) {
    var original = console[level];
    console[level] = function () {
      var said = Array.prototype.map.call(arguments, text).join(" ").slice(0, 4000);
      tell("console", { level: level, text: said });
      return original.apply(console, arguments);
    };
  });
  window.addEventListener("error", function (e) {
    if (e.message) {
      tell("error", { text: text(e.error || e.message).slice(0, 4000), source: e.filename,
        line: e.lineno });
    }
  });
  window.addEventListener("unhandledrejection", function (e) {
    tell("error", { text: ("Unhandled: " + text(e.reason)).slice(0, 4000) });
  });
  function where() {
    tell("navigation", { url: location.href, path: location.pathname + location.search +
      location.hash, title: document.title });
  }
  ["pushState", "replaceState"].forEach(function (name) {
    var original = history[name];
    history[name] = function () {
      var result = original.apply(history, arguments);
      where();
      return result;
    };
  });
  window.addEventListener("popstate", where);
  window.addEventListener("hashchange", where);
  window.addEventListener("pagehide", function () { tell("unload"); });
  window.addEventListener("message", function (e) {
    if (!inFrame || e.source !== window.parent || !apps || apps.indexOf(e.origin) < 0) return;
    var data = e.data || {};
    if (data.type === "limpet:reload") location.reload();
    else if (data.type === "limpet:back") history.back();
    else if (data.type === "limpet:forward") history.forward();
    else if (data.type === "limpet:navigate" && typeof data.path === "string") {
      var to = new URL(data.path, location.href);
      if (to.origin === location.origin) location.assign(to.href);
    } else if (data.type === "visual-editor::activate" && typeof data.script === "string") {
      var script = document.createElement("script");
      script.textContent = data.script;
      document.head.appendChild(script).remove();
    }
  });
  var Original = window.WebSocket;
  var loopback = /^(localhost|127\\.\\d+\\.\\d+\\.\\d+|\\[::1\\]|0\\.0\\.0\\.0)$/;
  function aim(url) {
    try {
      var to = new URL(url, location.href);
      if (/^http/.test(to.protocol)) to.protocol = to.protocol.replace("http", "ws");
      var same = to.hostname === location.hostname;
      if (to.host !== location.host && (same || loopback.test(to.hostname))) {
        to.protocol = location.protocol === "https:" ? "wss:" : "ws:";
        to.host = location.host;
        if (!location.port) to.port = "";
        return to.href;
      }
    } catch (e) {}
    return url;
  }
  if (Original) {
    window.WebSocket = new Proxy(Original, {
      construct: function (target, args) {
        var given = [aim(args[0])].concat(Array.prototype.slice.call(args, 1));
        return Reflect.construct(target, given, target);
      }
    });
  }
  function ready() { tell("ready", { url: location.href }); where(); }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", ready);
  else ready();
})();</script>"""

_TITLES: Final = {
    "cloning": ("Getting the code", "The repository is being cloned."),
    "checking-out": ("Getting the code", "The branch is being checked out."),
    "installing": ("Installing dependencies", "The dev server starts right after."),
    "needs-credentials": ("Waiting for credentials", "The repository asks who is there."),
    "clone-failed": ("The code could not be fetched", "Look at the setup log, then try again."),
    "install-failed": ("The install failed", "Look at the setup log, then try again."),
    "start-failed": ("The dev server does not start", "Look at its log, then try again."),
}
_FAILED: Final = frozenset({"needs-credentials", "clone-failed", "install-failed", "start-failed"})


def no_server(phase: str, error: str = "") -> tuple[str, str]:
    """The page for when there is no port to go to, and its name."""
    name = f"none-{phase}"
    if phase not in _TITLES:
        text = "When one starts, it shows here by itself."
        return _page("No dev server running", text, name, pause_ms=2000), name
    title, text = _TITLES[phase]
    shown = f"No dev server running: {title[0].lower()}{title[1:]}"
    busy = phase not in _FAILED
    return _page(shown, text, name, detail=error, busy=busy, pause_ms=2000), name


def starting() -> tuple[str, str]:
    """The page for when the dev server does not answer yet, and its name."""
    text = "The page appears as soon as the dev server answers."
    return _page("Server is starting…", text, "starting", busy=True, pause_ms=1000), "starting"


def no_page(content_type: str) -> tuple[str, str]:
    """The page for a server that has no web page at `/`, and its name."""
    text = "The server answers, but not with a web page. That is how an API looks from here."
    detail = f"Content-Type: {content_type or 'none'}"
    return _page(
        "No web page at this URL", text, "no-page", detail=detail, pause_ms=2000
    ), "no-page"


def script(app_origins: tuple[str, ...]) -> bytes:
    """The script for pages; `app_origins` are those it obeys (`*`: it obeys nobody)."""
    known = None if "*" in app_origins else list(app_origins)
    return _SCRIPT.replace("__APPS__", json.dumps(known).replace("<", "\\u003c")).encode()


def _page(
    title: str, text: str, name: str, *, pause_ms: int, detail: str = "", busy: bool = False
) -> str:
    return _PAGE.format(
        title=html.escape(title),
        text=html.escape(text),
        detail=f"<pre>{html.escape(detail.strip()[-4000:])}</pre>" if detail.strip() else "",
        busy="busy" if busy else "",
        page=json.dumps(name),
        pause_ms=pause_ms,
    )
