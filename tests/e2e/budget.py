"""What the first page costs: the JavaScript that a browser must have before it shows anything."""

import gzip
import re
from pathlib import Path

from tests.live import REPOSITORY

DIST = REPOSITORY / "web" / "dist"
MOST_BYTES = 250_000
USABLE_MS = 1000.0

_SCRIPTS = re.compile(
    r'<(?:script[^>]*\bsrc|link[^>]*rel="modulepreload"[^>]*\bhref)="([^"]+\.js)"'
)
_IMPORTS = re.compile(r"""(?:^|[;}\s])(?:import|export)\b[^;"'()]*["'](\.{1,2}/[^"']+\.js)["']""")


def first_scripts(dist: Path) -> dict[str, int]:
    """Bytes, compressed by gzip, of the page's scripts, preloads, and all that they import at once.

    `import()` is not at once.
    """
    waiting = [
        dist / src.lstrip("/") for src in _SCRIPTS.findall((dist / "index.html").read_text())
    ]
    sizes: dict[str, int] = {}
    while waiting:
        script = waiting.pop()
        if script.name in sizes:
            continue
        text = script.read_bytes()
        sizes[script.name] = len(gzip.compress(text, 9, mtime=0))
        waiting += [script.parent / name for name in _IMPORTS.findall(text.decode())]
    return sizes
