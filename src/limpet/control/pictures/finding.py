"""Which browser takes the pictures. Looks at the machine, starts nothing."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OFF: Final = "off"
NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@dataclass(frozen=True, slots=True)
class BrowserChoice:
    """The program that is to be used; without one, `why_none` says why."""

    program: Path | None
    why_none: str = ""


def choose_browser(setting: str | None) -> BrowserChoice:
    """`setting` is that of `LIMPET_BROWSER`: a path, `off`, or None for what is in PATH."""
    if setting is not None and setting.strip().lower() == OFF:
        return BrowserChoice(None, "LIMPET_BROWSER is off")
    if setting is not None:
        program = Path(setting).expanduser()
        if not (program.is_file() and os.access(program, os.X_OK)):
            return BrowserChoice(None, f"LIMPET_BROWSER: {program} is no program")
        return BrowserChoice(program.absolute())
    for name in NAMES:
        if found := shutil.which(name):
            return BrowserChoice(Path(found).absolute())
    return BrowserChoice(None, "no Chromium or Chrome is installed")
