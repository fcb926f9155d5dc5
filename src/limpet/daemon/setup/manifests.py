"""Reading manifests: what cannot be read is a `ManifestError` that says which and why. Blocking."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any, Final

MAX_MANIFEST_BYTES: Final = 4 * 1024 * 1024
_COMMENT: Final = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING_COMMA: Final = re.compile(r",(\s*[}\]])")
_YAML_ITEM: Final = re.compile(r"""\s*-\s*(?:'([^']*)'|"([^"]*)"|([^\s#'"]+))""")


class ManifestError(Exception):
    """A manifest that cannot be read as what it should be."""


def read_text(path: Path) -> str:
    """The file's text, cut at 4 MiB."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_MANIFEST_BYTES).decode(errors="replace")
    except OSError as error:
        raise ManifestError(f"{path.name} cannot be read: {error.strerror}") from error


def package_json(folder: Path) -> dict[str, Any]:
    """package.json; empty where there is none."""
    path = folder / "package.json"
    return _object(path, read_text(path)) if path.is_file() else {}


def deno_json(folder: Path) -> dict[str, Any]:
    """deno.json or deno.jsonc, comments and trailing commas allowed; empty where there is none."""
    for name in ("deno.json", "deno.jsonc"):
        path = folder / name
        if path.is_file():
            plain = _COMMENT.sub(lambda m: m[1] or "", read_text(path))
            return _object(path, _TRAILING_COMMA.sub(r"\1", plain))
    return {}


def pyproject(folder: Path) -> dict[str, Any]:
    """pyproject.toml; empty where there is none."""
    path = folder / "pyproject.toml"
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(read_text(path))
    except ValueError as error:
        raise ManifestError(f"{path.name} is not TOML: {error}") from error


def yaml_list(path: Path, key: str) -> list[str]:
    """The texts in a top-level list of a YAML file, as people write them in block style."""
    found: list[str] = []
    inside = False
    for line in read_text(path).splitlines():
        if line.startswith(f"{key}:"):
            inside = True
        elif inside and (item := _YAML_ITEM.match(line)):
            found.append(item[1] or item[2] or item[3] or "")
        elif line.strip() and not line.lstrip().startswith("#"):
            inside = False
    return found


def yaml_value(path: Path, key: str) -> str | None:
    """The text of a top-level key of a YAML file."""
    for line in read_text(path).splitlines():
        if line.startswith(f"{key}:"):
            return line.partition(":")[2].partition(" #")[0].strip().strip("'\"")
    return None


def texts(found: object) -> dict[str, str]:
    """Those members of an object that are texts."""
    if not isinstance(found, dict):
        return {}
    return {str(name): value for name, value in found.items() if isinstance(value, str)}


def below(found: object, *names: str) -> Any:
    """What lies at a path of keys; None where one of them is missing."""
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _object(path: Path, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ManifestError(f"{path.name} is not a JSON object")
    return found
