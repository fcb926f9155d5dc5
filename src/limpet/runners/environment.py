"""What of the control plane's environment a sandbox may see: an allow list, and nothing else. Pure.

The control plane's own environment holds keys of stores and databases; a daemon inherits only what
programs need to find each other, speak the user's language and trust the network.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

CA_FILE_VARIABLES: Final = (
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "NPM_CONFIG_CAFILE",
    "npm_config_cafile",
)
CA_FOLDERS_VARIABLE: Final = "SSL_CERT_DIR"
_PLAIN: Final = frozenset({"LANG", "LANGUAGE", "TZ", "TERM", "COLORTERM", CA_FOLDERS_VARIABLE})
_PROXIES: Final = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})
_SECRET: Final = re.compile(r"auth|token|passw|secret|otp|_key$|^npm_config_key$", re.IGNORECASE)


def allowed(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of `environ` that sandboxes get. `PATH` is not among them (see `tool_path`)."""
    return {name: value for name, value in environ.items() if value and _is_allowed(name)}


def _is_allowed(name: str) -> bool:
    if name in _PLAIN or name in CA_FILE_VARIABLES or name.startswith("LC_"):
        return True
    if name.lower() in _PROXIES:
        return True
    return name.lower().startswith("npm_config_") and not _SECRET.search(name)


def tool_path(environ: Mapping[str, str], own_prefix: Path | None) -> list[str]:
    """The folders of `PATH`, without those of our own virtual environment.

    A `pip install` in a sandbox must not change what Limpet itself runs from.
    """
    own = None if own_prefix is None else own_prefix.resolve()
    kept: list[str] = []
    for folder in environ.get("PATH", os.defpath).split(os.pathsep):
        path = Path(folder)
        if path.is_absolute() and folder not in kept and path.resolve().parent != own:
            kept.append(folder)
    return kept


def daemon_environment(
    base: Mapping[str, str],
    *,
    path: str,
    sandbox_root: Path,
    boot_id: str,
    listen_fd: int | None,
    token_fd: int,
    origin: str,
    dev_port: int | None,
    relocated: bool,
    own_pid_namespace: bool,
) -> dict[str, str]:
    """The whole environment of a daemon; `sandbox_root` is the root as the sandbox sees it.

    Without a `listen_fd` it binds its port itself.
    """
    workspace = sandbox_root / "workspace"
    env = {
        **base,
        "PATH": path,
        "HOME": str(workspace / "home"),
        "APP_ROOT": str(workspace),
        "SANDBOX_ROOT": str(sandbox_root),
        "DAEMON_BOOT_ID": boot_id,
        "DAEMON_HOST": "127.0.0.1",
        "DAEMON_TOKEN_FD": str(token_fd),
        "DAEMON_REQUIRE_TOKEN": "1",
        "DAEMON_ALLOWED_ORIGINS": origin,
        "DAEMON_DEV_HOST": "127.0.0.1",
        "DAEMON_AWAIT_CONFIG": "1",
    }
    if listen_fd is not None:
        env["DAEMON_LISTEN_FD"] = str(listen_fd)
    if dev_port is not None:
        env["DAEMON_DEV_PORT"] = str(dev_port)
    if relocated:
        env["DAEMON_RELOCATED"] = "1"
    if own_pid_namespace:
        env["DAEMON_OWNS_PID_NAMESPACE"] = "1"
    return env
