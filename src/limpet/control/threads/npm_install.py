"""How a pinned program comes out of npm's registry into a folder: a shell script, the same on this
machine and in a sandbox, and what its failures mean.

npm checks the integrity that we name, and runs no script of the package. The folder appears whole
or not at all, however many install at once.
"""

import re
from pathlib import PurePath
from typing import Final

from limpet.errors import LimpetError
from limpet.harness.tools import NpmProgram

NO_NPM: Final = 69
UNKNOWN_PLATFORM: Final = 70
INSTALL_TIMEOUT_S: Final = 900.0

_SCRIPT: Final = r"""
set -eu
target=$1 file=$2 version=$3
shift 3
if [ -x "$target/$file" ]; then exit 0; fi
case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) platform=linux-x64 ;;
  Linux-aarch64 | Linux-arm64) platform=linux-arm64 ;;
  Darwin-x86_64) platform=darwin-x64 ;;
  Darwin-arm64) platform=darwin-arm64 ;;
  *) platform="$(uname -s)-$(uname -m)" ;;
esac
if ls /lib/ld-musl-* >/dev/null 2>&1 && ! ls /lib*/ld-linux* /lib/*/ld-linux* >/dev/null 2>&1; then
  platform=$platform-musl
fi
package=
while [ $# -gt 0 ]; do
  if [ "$1" = "$platform" ]; then package=$2 integrity=$3; fi
  shift 3
done
if [ -z "$package" ]; then echo "$platform" >&2; exit 70; fi
command -v npm >/dev/null 2>&1 || exit 69
mkdir -p "$(dirname "$target")"
made=$(mktemp -d "$(dirname "$target")/.installing-XXXXXXXX")
trap 'rm -rf "$made"' EXIT
trap 'exit 1' HUP INT TERM
cd "$made"
needs="\"dependencies\": {\"$package\": \"$version\"}"
printf '{"name": "program", "private": true, %s}' "$needs" > package.json
printf '{"name": "program", "lockfileVersion": 3, "requires": true, "packages": {"": {%s},' \
  "$needs" > package-lock.json
printf '"node_modules/%s": {"version": "%s", "integrity": "%s"}}}' \
  "$package" "$version" "$integrity" >> package-lock.json
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error --cache "$made/cache" \
  --fetch-retries=2 --fetch-retry-mintimeout=1000 --fetch-retry-maxtimeout=5000 >&2
chmod -R a+rX "node_modules/$package"
chmod a+x "node_modules/$package/$file"
if ! mv -T "node_modules/$package" "$target" 2>/dev/null; then
  [ -x "$target/$file" ] || mv "node_modules/$package" "$target"
fi
"""
_NETWORK: Final = re.compile(
    r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH"
    r"|ERR_SOCKET_TIMEOUT|FETCH_ERROR|UND_ERR_[A-Z_]+|SELF_SIGNED_CERT[A-Z_]*"
    r"|UNABLE_TO_[A-Z_]+)\b"
)
_REFUSED: Final = re.compile(r"\bE(40[0-9]|5\d\d|TARGET)\b")
_MOST_SAID: Final = 300


class ProgramMissingError(LimpetError):
    """A program that a harness drives is not there and cannot be installed."""

    code = "program_missing"


def folder_name(program: NpmProgram) -> str:
    """The folder of one version."""
    return f"{program.name}-{program.version}"


def install_command(program: NpmProgram, target: PurePath) -> list[str]:
    """The argv that installs the program as `target`/`file`, unless it is there."""
    each = [
        word
        for platform, package in program.packages.items()
        for word in (platform, package.name, package.integrity)
    ]
    return ["sh", "-c", _SCRIPT, "sh", str(target), program.file, program.version, *each]


def why_not(program: NpmProgram, code: int, said: str, *, where: str, hint: str) -> LimpetError:
    """What a failed installation means. `where` completes 'cannot be installed'.

    `hint` says how else the program may be had.
    """
    cannot = f"{program.title} cannot be installed {where}"
    if code == UNKNOWN_PLATFORM:
        platform = said.strip() or "this platform"
        return ProgramMissingError(f"{cannot}: there is none for {platform[:80]}", hint=hint)
    if code == NO_NPM:
        return ProgramMissingError(f"{cannot}: there is no npm", hint=f"Install Node. {hint}")
    short = " ".join(said.split())[-_MOST_SAID:]
    if "EINTEGRITY" in said:
        return ProgramMissingError(
            f"{cannot}: what the registry gave is not what was published as {program.version}",
            hint="Ask whoever runs the registry. " + hint,
        )
    if "ENOSPC" in said or "EDQUOT" in said:
        return ProgramMissingError(f"{cannot}: the disk is full", hint="It takes some 600 MB.")
    if _REFUSED.search(said):
        return ProgramMissingError(f"{cannot}: the registry refuses it ({short})", hint=hint)
    if _NETWORK.search(said):
        return ProgramMissingError(
            f"{cannot}: npm's registry cannot be reached",
            hint=f"Look at the network, or at npm's `registry` setting. {hint}",
        )
    return ProgramMissingError(f"{cannot}: {short or f'npm ended with {code}'}", hint=hint)
