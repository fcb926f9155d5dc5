"""What lies in a folder and in a whole workspace, counted as a receipt tells it. Pure."""

import stat
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from limpet.snapshots.entry_contents import Drops
from limpet.snapshots.native import EntryStat
from limpet.snapshots.native.records import FIRST_NS, LAST_NS
from limpet.snapshots.remarks import Remarks

TALLY_FORMAT: Final = "IQIIIIIIII"
_FAR: Final = frozenset({FIRST_NS, LAST_NS})
_NO_DROPS: Final = Drops(0, 0)
_SET_ID: Final = stat.S_ISUID | stat.S_ISGID


class Tally(NamedTuple):
    """Of a folder, what lies right in it: every name of a file counts in `files`, `size_bytes`, and
    in nothing else when the file has several. Of a workspace, all of it, each file once.
    """

    files: int = 0
    size_bytes: int = 0
    symlinks: int = 0
    hard_links: int = 0
    """Further names of files."""
    links_outside: int = 0
    """Files with more names than the workspace holds."""
    setuid: int = 0
    setgid: int = 0
    xattrs: int = 0
    acls: int = 0
    far_times: int = 0
    """Times that 64 bits of nanoseconds do not hold."""

    def remark(self, remarks: Remarks) -> None:
        """Tell what the counts and the dropped attributes on a receipt tell."""
        for name in ("symlinks", "hard_links", "links_outside", "far_times"):
            remarks.count(name, getattr(self, name))
        for name in ("setuid", "setgid", "xattrs", "acls"):
            if number := getattr(self, name):
                remarks.dropped[name] += number


NOTHING: Final = Tally()


def tally_of(entries: Iterable[EntryStat], drops: Mapping[int, Drops]) -> Tally:
    """What a folder of these entries holds; `drops` by their places."""
    files = size_bytes = symlinks = setuid = setgid = far_times = 0
    linked = set()
    for place, (mode, nlink, _, _, size, mtime_ns, *_) in enumerate(entries):
        kind = stat.S_IFMT(mode)
        if kind == stat.S_IFREG:
            files += 1
            size_bytes += size
        if nlink > 1 and kind != stat.S_IFDIR:
            linked.add(place)
            continue
        if kind == stat.S_IFLNK:
            symlinks += 1
        elif mode & _SET_ID:
            setuid += bool(mode & stat.S_ISUID)
            setgid += bool(mode & stat.S_ISGID)
        far_times += mtime_ns in _FAR
    counted = [one for place, one in drops.items() if place not in linked]
    xattrs, acls = sum(one.xattrs for one in counted), sum(one.acls for one in counted)
    return Tally(files, size_bytes, symlinks, 0, 0, setuid, setgid, xattrs, acls, far_times)


def tally_of_columns(
    modes: Sequence[int], mtimes: Sequence[int], file_sizes: Sequence[int]
) -> Tally:
    """As `tally_of`, for folders and files of one name each, without dropped attributes."""
    setuid = setgid = 0
    if any(mode & _SET_ID for mode in set(modes)):
        setuid = sum(bool(mode & stat.S_ISUID) for mode in modes)
        setgid = sum(bool(mode & stat.S_ISGID) for mode in modes)
    far_times = 0 if _FAR.isdisjoint(mtimes) else sum(time in _FAR for time in mtimes)
    return Tally(
        files=len(file_sizes),
        size_bytes=sum(file_sizes),
        setuid=setuid,
        setgid=setgid,
        far_times=far_times,
    )


class Totals:
    """Adds up folders; a file with several names is counted once."""

    def __init__(self) -> None:
        self._folders: list[Sequence[int]] = [NOTHING]
        self._names: dict[tuple[int, int], int] = {}
        self._files: dict[tuple[int, int], tuple[EntryStat, Drops]] = {}

    def add(self, tally: Sequence[int]) -> None:
        """A folder's, in the order of a `Tally`."""
        self._folders.append(tally)

    def add_links(self, entries: Iterable[EntryStat], drops: Mapping[int, Drops]) -> None:
        """The entries of a folder that holds names of files with several."""
        names, files = self._names, self._files
        for place, entry in enumerate(entries):
            if entry.nlink > 1 and not stat.S_ISDIR(entry.mode):
                key = entry.dev, entry.ino
                if key in names:
                    names[key] += 1
                else:
                    names[key] = 1
                    files[key] = entry, drops.get(place, _NO_DROPS)

    def whole(self) -> Tally:
        """All that was added."""
        sums = map(sum, zip(*self._folders, strict=True))
        files, size_bytes, symlinks, hard_links, outside, *bits = sums
        setuid, setgid, xattrs, acls, far_times = bits
        for key, (entry, drops) in self._files.items():
            further = self._names[key] - 1
            hard_links += further
            outside += entry.nlink > further + 1
            if stat.S_ISREG(entry.mode):
                files -= further
                size_bytes -= further * entry.size
                setuid += bool(entry.mode & stat.S_ISUID)
                setgid += bool(entry.mode & stat.S_ISGID)
            else:
                symlinks += 1
            xattrs += drops.xattrs
            acls += drops.acls
            far_times += entry.mtime_ns in _FAR
        return Tally(
            files, size_bytes, symlinks, hard_links, outside, setuid, setgid, xattrs, acls,
            far_times,
        )  # fmt: skip
