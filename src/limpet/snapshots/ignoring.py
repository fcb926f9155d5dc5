"""What is not saved: what users name in `.limpetignore` files, followed while a tree is walked,
and the logins that programs keep in the home folder, unless a user says otherwise.

The rules themselves are in ignore_rules.py, which is loaded once there is such a file. Never left
out, unless with a whole folder above: an ignore file, whatever git keeps of a repository, and the
log of a database that is saved, without which that may be worth nothing.
"""

import errno
import heapq
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from limpet.snapshots.remarks import LISTED, Remarks
from limpet.snapshots.tar_format import show

if TYPE_CHECKING:
    from limpet.snapshots.ignore_rules import Rule, RuleFile

IGNORE_FILE: Final = b".limpetignore"
LOGINS: Final[Mapping[bytes, frozenset[bytes]]] = {
    b"home": frozenset({b".git-credentials", b".netrc"}),
    b"home/.aws": frozenset({b"credentials"}),
    b"home/.claude": frozenset({b".credentials.json"}),
    b"home/.codex": frozenset({b"auth.json"}),
    b"home/.config/gcloud": frozenset({b"application_default_credentials.json", b"credentials.db"}),
    b"home/.config/gh": frozenset({b"hosts.yml"}),
    b"home/.gemini": frozenset({b"oauth_creds.json"}),
    b"home/.local/share/opencode": frozenset({b"auth.json"}),
}
"""Files that hold a login and nothing else, by their folder: signing in makes them again."""
MAX_FILE_BYTES: Final = 64 << 10
MAX_RULES: Final = 1000
"""How many may be in force in one folder, of all files together."""
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_REPOSITORY: Final = frozenset({b"objects", b"refs"})
_LOGS: Final = (b"-wal", b"-journal")
_SHOWN_BYTES: Final = 60


@dataclass(frozen=True, slots=True)
class Rules:
    """What is in force in a folder: the files above it, the outermost first, and its own."""

    files: "tuple[RuleFile, ...]" = ()
    count: int = 0
    never: bool = False
    """Nothing is left out from here on, whatever files there are."""


_NEVER: Final = Rules(never=True)
_NONE: Final = Rules()


class _UnfitError(Exception):
    """An ignore file that cannot be followed, and why."""


class Ignoring:
    """Follows the ignore files on one walk and counts what they leave out.

    What lies in a folder that is left out is never looked at, nor counted.
    """

    def __init__(self) -> None:
        self._entries = self._bytes = 0
        self._left_out: list[tuple[bytes, str]] = []
        self._unfit: list[tuple[bytes, str]] = []

    def follow(
        self,
        above: Rules | None,
        folder: bytes,
        fd: int,
        names: Mapping[bytes, bool],
    ) -> tuple[Rules | None, set[bytes]]:
        """The rules in force in an open folder, and which of its entries they leave out.

        `above` is in force in its parent. `names` tells of each entry whether it is a folder. Need
        not be called where nothing is in force above, there is no ignore file, and the folder is
        none of `LOGINS`. Who calls tells the sizes with `add_bytes`.
        """
        if above is not None and above.never:
            return above, set()
        if names.keys() >= _REPOSITORY or b"/.git/" in b"/%b/" % folder:
            return _NEVER, set()
        rules = above or _NONE
        if names.get(IGNORE_FILE) is False:
            rules = self._with_file(rules, folder, fd)
        logins = LOGINS.get(folder, frozenset())
        if not rules.files and logins.isdisjoint(names):
            return rules if above else None, set()
        found: dict[bytes, str] = {}
        start = folder + b"/" if folder else b""
        for name, is_folder in names.items():
            decided = _decide(rules, start + name, name, is_folder=is_folder)
            if decided is None:
                if name in logins and not is_folder:
                    found[name] = "a login, which stays out of snapshots"
            elif not decided[1].negated and name != b".git" and (is_folder or name != IGNORE_FILE):
                found[name] = _words(*decided)
        for name in [name for name in found if name.endswith(_LOGS)]:
            database = name.rpartition(b"-")[0]
            if not names.get(database, True) and database not in found:
                del found[name]
        if found:
            first = heapq.nsmallest(LISTED, found)
            self._tell(len(found), [(start + name, found[name]) for name in first])
        return rules if rules.files or above else None, set(found)

    def tell(self, remarks: Remarks) -> None:
        """Make remarks of what was left out, and of ignore files that could not be followed."""
        remarks.count("ignored", self._entries)
        remarks.count("ignored_bytes", self._bytes)
        remarks.count("ignore_files_not_followed", len(self._unfit))
        for path, why in (*sorted(self._unfit), *sorted(self._left_out)):
            remarks.ignore(path, why)

    def add_bytes(self, size_bytes: int) -> None:
        """The size of a file that was left out."""
        self._bytes += size_bytes

    def _tell(self, entries: int, first: list[tuple[bytes, str]]) -> None:
        self._entries += entries
        self._left_out += first
        if len(self._left_out) > 2 * LISTED:
            self._left_out = sorted(self._left_out)[:LISTED]

    def _with_file(self, rules: Rules, folder: bytes, fd: int) -> Rules:
        """With the rules of the folder's own ignore file, or none at all when it is unfit."""
        from limpet.snapshots.ignore_rules import RuleFile, parse_rules

        try:
            data = _read(fd)
            found = parse_rules(data)
            if rules.count + len(found) > MAX_RULES:
                raise _UnfitError(f"with it more than {MAX_RULES:,} rules would be in force")
        except FileNotFoundError:
            return rules
        except (_UnfitError, OSError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            self._say(folder, f"not followed, so nothing is left out from here on: {why}")
            return _NONE
        if not _is_utf8(data):
            self._say(folder, "not UTF-8: its rules are compared with names byte by byte")
        return Rules((*rules.files, RuleFile(folder, found)), rules.count + len(found))

    def _say(self, folder: bytes, why: str) -> None:
        path = folder + b"/" + IGNORE_FILE if folder else IGNORE_FILE
        self._unfit.append((path, why))


def _decide(
    rules: Rules, path: bytes, name: bytes, *, is_folder: bool
) -> "tuple[RuleFile, Rule] | None":
    """The rule that decides about an entry, and where it stands: that of the deepest file."""
    for file in reversed(rules.files):
        rule = file.last_match(path, name, is_folder=is_folder)
        if rule is not None:
            return file, rule
    return None


def _words(file: "RuleFile", rule: "Rule") -> str:
    where = file.folder + b"/" + IGNORE_FILE if file.folder else IGNORE_FILE
    return f"{show(rule.text[:_SHOWN_BYTES])} in {show(where)}, line {rule.line}"


def _read(folder_fd: int) -> bytes:
    try:
        fd = os.open(IGNORE_FILE, _READ, dir_fd=folder_fd)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _UnfitError("it is a link") from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise _UnfitError("it is no file")
        data = b""
        while len(data) <= MAX_FILE_BYTES and (piece := os.read(fd, MAX_FILE_BYTES + 1)):
            data += piece
    finally:
        os.close(fd)
    if len(data) > MAX_FILE_BYTES:
        raise _UnfitError(f"it is larger than {MAX_FILE_BYTES:,} bytes")
    if b"\0" in data:
        raise _UnfitError("it is no plain text")
    return data


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
