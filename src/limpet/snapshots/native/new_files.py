"""Files that are to be made, in columns as the compiled floor reads them, and what became of them.

Whoever makes a tree fills the columns once; a call then says only which files, where, out of which
bytes. Hundreds of thousands of files need tens of megabytes.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import add
from typing import Final

MAX_NAME_BYTES: Final = 255
_NO_NAMES: Final = frozenset({b".", b".."})


class NameColumn:
    """Byte strings by number, one after another in one buffer, each ended by a NUL."""

    def __init__(self) -> None:
        self.text = bytearray()
        self.starts = array("I", [0])
        """Where each begins, and where the next one will."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, number: int) -> bytes:
        return bytes(self.text[self.starts[number] : self.starts[number + 1] - 1])

    def __iter__(self) -> Iterator[bytes]:
        return (self[number] for number in range(len(self)))

    @property
    def size_bytes(self) -> int:
        """Of all names together."""
        return len(self.text) - len(self)

    def append(self, name: bytes) -> None:
        """One more; `ValueError` when it has a NUL byte in it."""
        self.extend((name,))

    def extend(self, names: Sequence[bytes], text: bytes | None = None) -> None:
        """Append them all; `ValueError` when one has a NUL byte in it, and then none.

        `text` is what `check_names` gave for them.
        """
        if text is None:
            text = b"\0".join([*names, b""])
            if text.count(b"\0") != len(names):
                raise ValueError("a name has a NUL byte in it")
        start = len(self.text)
        self.text += text
        ends = accumulate([len(name) + 1 for name in names], initial=start)
        next(ends)
        self.starts.extend(ends)

    def find(self, name: bytes, first: int, end: int) -> int | None:
        """The number of a name among those from `first` to before `end`, which ascend."""
        number = bisect_left(range(first, end), name, key=self.__getitem__) + first
        return number if number < end and self[number] == name else None


class NewFiles:
    """What files are called, how long they are and how they look, by number. Only added to.

    `modes` are permission bits and the sticky bit; set-id bits are never made.
    """

    def __init__(self) -> None:
        self.names = NameColumn()
        self.sizes = array("Q")
        self.modes = array("H")
        self.mtimes = array("q")
        """In ns."""

    def __len__(self) -> int:
        return len(self.sizes)

    def add_columns(
        self,
        names: Sequence[bytes],
        sizes: Sequence[int],
        modes: Sequence[int],
        mtimes: Sequence[int],
    ) -> None:
        """Files more, as many as there are names.

        Raises `ValueError` for a name that cannot be an entry's, a number that is out of range, or
        columns that are not equally long; and then adds nothing.
        """
        text = check_names(names, len(sizes))
        try:
            more = array("Q", sizes), array("H", modes), array("q", mtimes)
        except OverflowError as error:
            raise ValueError("a number of a file to be made is out of range") from error
        if {len(names), *map(len, more)} != {len(names)}:
            raise ValueError("the columns of the files to be made are not equally long")
        self.names.extend(names, text)
        self.sizes += more[0]
        self.modes += more[1]
        self.mtimes += more[2]


@dataclass(slots=True)
class WriteJobs:
    """Which files are to be made out of one buffer: each by its number, in which folder, and where
    in the buffer it begins. Columns of equal length."""

    files: "array[int]" = field(default_factory=lambda: array("I"))
    folder_fds: "array[int]" = field(default_factory=lambda: array("i"))
    offsets: "array[int]" = field(default_factory=lambda: array("Q"))

    def __len__(self) -> int:
        return len(self.files)

    def checked(self, of: NewFiles, data_bytes: int) -> "WriteJobs":
        """The same jobs, which nobody else can change, when all that C relies on holds.

        Raises `ValueError` for a file that there is none of, bytes that the buffer does not have,
        or columns that do not fit together.
        """
        jobs = WriteJobs(self.files[:], self.folder_fds[:], self.offsets[:])
        columns = jobs.files, jobs.folder_fds, jobs.offsets
        if [column.typecode for column in columns] != ["I", "i", "Q"]:
            raise ValueError("a column of the files to be made is of another type")
        if {len(jobs.files), *map(len, columns)} != {len(jobs.files)}:
            raise ValueError("the columns of the files to be made are not equally long")
        if max(jobs.files, default=-1) >= len(of):
            raise ValueError("there is no such file")
        lengths = map(of.sizes.__getitem__, jobs.files)
        if max(map(add, jobs.offsets, lengths), default=0) > data_bytes:
            raise ValueError("a file reaches beyond the buffer")
        return jobs


@dataclass(slots=True)
class Written:
    """What became of the jobs. After the first that failed none was begun (`ECANCELED`)."""

    errnos: "array[int]"

    def first_error(self) -> tuple[int, int] | None:
        """The job that failed, and its errno; None when all files are made."""
        if not any(self.errnos):
            return None
        return next((job, error) for job, error in enumerate(self.errnos) if error)


def no_results(count: int) -> Written:
    """Room for the results of so many jobs."""
    return Written(array("i", bytes(array("i").itemsize * count)))


def check_names(names: Sequence[bytes], count: int) -> bytes:
    """The names, a NUL after each.

    Raises `ValueError` unless there are so many and each can name an entry of a folder.
    """
    if len(names) != count:
        raise ValueError(f"there are {len(names)} names for {count} files")
    text = b"\0".join([*names, b""])
    if (  # all of them at once: which one it is, is only looked for when there is one
        text.count(b"\0") != count
        or b"/" in text
        or not _NO_NAMES.isdisjoint(names)
        or not all(names)
        or max(map(len, names), default=0) > MAX_NAME_BYTES
    ):
        bad = next(name for name in names if not may_name(name))
        raise ValueError(f"{bad[:80]!r} cannot name a file")
    return text


def may_name(name: bytes) -> bool:
    """Whether an entry of a folder can be called so."""
    return (
        0 < len(name) <= MAX_NAME_BYTES
        and name not in _NO_NAMES
        and b"/" not in name
        and b"\0" not in name
    )
