"""The web app's types of the API, made from the OpenAPI document of a server that runs.

`python -m tests.api_types` writes them anew; with `--check` it only says whether they are old.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.control.live_app import live_app

REPOSITORY = Path(__file__).resolve().parent.parent
GENERATOR = REPOSITORY / "web/openapi/node_modules/.bin/openapi-typescript"
TYPES = REPOSITORY / "web/src/api/schema.ts"


async def document(folder: Path) -> str:
    """The OpenAPI document as JSON; `folder` is the server's data folder meanwhile."""
    async with live_app(folder) as live:
        _, _, schema = await live.raw("GET", "/api/openapi.json")
    return json.dumps(schema)


def generated() -> str:
    """The types of the server as it is."""
    with tempfile.TemporaryDirectory(prefix="limpet-api-types-") as folder:
        source, made = Path(folder, "openapi.json"), Path(folder, "schema.ts")
        source.write_text(asyncio.run(document(Path(folder, "data"))))
        subprocess.run([GENERATOR, source, "-o", made], check=True, stdout=subprocess.DEVNULL)
        return made.read_text()


def main() -> int:
    """1 when the types that are committed are not those of the server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    checking = parser.parse_args().check
    types = generated()
    if not checking:
        TYPES.write_text(types)
        return 0
    if TYPES.exists() and TYPES.read_text() == types:
        return 0
    name = TYPES.relative_to(REPOSITORY)
    sys.stderr.write(f"{name} is not what the server says: run `make api-types`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
