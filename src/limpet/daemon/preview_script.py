"""The script that goes into previews. Pure.

It tells the frame around it (`limpet:ready`, `limpet:navigation {url, title}`, `limpet:console
{level, text}`, `limpet:error {text, source, line}`, `limpet:unload`) and obeys `limpet:reload`,
`limpet:back`, `limpet:forward`, `limpet:navigate {path}` and, on request,
`visual-editor::activate {script}`: from the app's own origins alone.
"""

import json
from typing import Final

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


def script(app_origins: tuple[str, ...]) -> bytes:
    """The script for pages; `app_origins` are those it obeys (`*`: it obeys nobody)."""
    known = None if "*" in app_origins else list(app_origins)
    return _SCRIPT.replace("__APPS__", json.dumps(known).replace("<", "\\u003c")).encode()
