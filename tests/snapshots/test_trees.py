"""Trees: walked as the page says; what does not fit together is refused."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limpet.errors import SnapshotDamagedError
from limpet.snapshots.blobs import BlobHash, hash_of
from limpet.snapshots.frame import encode_frame
from limpet.snapshots.judge import RestoreLimits, judge_tree
from limpet.snapshots.lineage import root_fields
from limpet.snapshots.node import (
    EMPTY_FILE,
    FILE,
    FOLDER,
    HARD_LINK,
    LISTED_FILE,
    SYMLINK,
    Content,
    Entry,
    Reference,
    Root,
)
from limpet.snapshots.node_encode import encode_branches, encode_chunk_table, encode_entries
from limpet.snapshots.trees import TreeBlobs
from tests.snapshots import oracle
from tests.snapshots.agreeing import REFUSED, oracles, ours

HASH = hash_of(b"x")
Told = list[tuple[bytes, str, int, int, int, bytes | None]]


@dataclass
class Made:
    """Tree blobs of one snapshot, made by hand, whatever they say."""

    blobs: dict[BlobHash, bytes] = field(default_factory=dict)
    top: BlobHash = HASH

    def folder(self, *entries: Entry) -> BlobHash:
        return self.add(encode_entries(entries))

    def branches(self, level: int, *pairs: tuple[bytes, BlobHash]) -> BlobHash:
        return self.add(encode_branches(level, pairs))

    def add(self, blob: bytes) -> BlobHash:
        self.top = hash_of(blob)
        self.blobs[self.top] = blob
        return self.top


def told_by_ours(made: Made) -> Told:
    """As a restore reads it: judged, then walked."""
    trees = TreeBlobs()
    for blob in made.blobs.values():
        trees.add_frame(encode_frame("tree", [blob]))
    judge_tree(Root(made.top, 0, 0), trees, RestoreLimits())
    found: Told = []
    for folder in trees.walk(made.top):
        looks = folder.looks
        if looks is not None:
            found.append((folder.path, "folder", looks.mode, looks.mtime_ns, 0, None))
        for entry in folder.entries:
            if entry.kind != FOLDER:
                found.append(
                    (
                        folder.path_of(entry.name), oracle.KINDS[entry.kind],
                        entry.mode, entry.mtime_ns, entry.size, entry.target,
                    )
                )  # fmt: skip
    return found


def told_by_the_oracle(made: Made) -> Told:
    items = oracle.read_tree(root_fields(Root(made.top, 0, 0)), oracle.Blobs(made.blobs), None)
    return [(i.path, i.kind, i.mode, i.mtime_ns, i.size, i.target) for i in items]


def file(name: bytes) -> Entry:
    return Entry(name, FILE, 0o644, 1, 1, HASH)


def empty(name: bytes) -> Entry:
    return Entry(name, EMPTY_FILE, 0o644, 1, 0)


def sub(name: bytes, node: BlobHash) -> Entry:
    return Entry(name, FOLDER, 0o755, 1, 0, node)


def link(name: bytes, to: bytes = b"anywhere") -> Entry:
    return Entry(name, SYMLINK, 0, 1, 0, target=to)


def hard(name: bytes, to: bytes) -> Entry:
    return Entry(name, HARD_LINK, 0, 0, 0, target=to)


NAMES = [b"a", b"a b", b"b", b"c"]
PATHS = [*NAMES, b"a/a", b"a/b", b"b/a", b"b/c", b"a/b/a", b"c/c", b"d"]


@st.composite
def some_trees(draw: st.DrawFn) -> Made:
    """Small trees of few names, full of hard links that may mean anything."""
    made = Made()

    def folder(depth: int) -> BlobHash:
        entries = []
        for name in sorted(draw(st.sets(st.sampled_from(NAMES), max_size=4))):
            match draw(st.sampled_from(["file", "empty", "link", "hard", "hard", "sub", "sub"])):
                case "sub" if depth < 3:
                    entries.append(sub(name, folder(depth + 1)))
                case "hard":
                    entries.append(hard(name, draw(st.sampled_from(PATHS))))
                case "link":
                    entries.append(link(name))
                case "empty":
                    entries.append(empty(name))
                case _:
                    entries.append(file(name))
        return made.folder(*entries)

    folder(0)
    return made


@settings(max_examples=500)
@given(some_trees())
def test_a_tree_is_refused_or_walked_as_the_oracle_does(made: Made) -> None:
    assert ours(lambda: told_by_ours(made)) == oracles(lambda: told_by_the_oracle(made))


@st.composite
def cut_folders(draw: st.DrawFn) -> Made:
    """A folder cut into nodes by somebody who may have done it wrongly."""
    made = Made()

    def node(level: int, names: Sequence[bytes]) -> BlobHash:
        if not level:
            return made.folder(*map(file, names))
        cuts = sorted(draw(st.sets(st.integers(0, len(names)), max_size=2)))
        groups = [names[a:b] for a, b in zip([0, *cuts], [*cuts, len(names)], strict=True)]
        below = level - 1 if draw(st.integers(0, 15)) else draw(st.integers(0, level))
        pairs = []
        for group in groups:
            if group or not draw(st.integers(0, 3)):
                first = group[0] if group and draw(st.integers(0, 15)) else b"zz"
                pairs.append((first, node(min(below, level - 1), group)))
        if not draw(st.integers(0, 9)):
            pairs.reverse()
        return made.branches(level, *pairs)

    names = sorted(draw(st.sets(st.binary(min_size=1, max_size=2).filter(_is_name), max_size=8)))
    node(draw(st.integers(1, 4)), names)
    return made


def _is_name(name: bytes) -> bool:
    return not {0, 0x2F} & set(name) and name not in {b".", b".."}


@settings(max_examples=500)
@given(cut_folders())
def test_a_big_folder_is_refused_or_read_as_the_oracle_does(made: Made) -> None:
    assert ours(lambda: told_by_ours(made)) == oracles(lambda: told_by_the_oracle(made))


# -- each rule of the page, broken alone ---------------------------------------------------------


def tree(build: Callable[[Made], object]) -> Made:
    made = Made()
    build(made)
    return made


def listed(made: Made, table: Callable[[], bytes], stands_for: int) -> BlobHash:
    name = made.add(table())
    content = Content((), True, (Reference(name, stands_for),))
    return made.folder(Entry(b"a", LISTED_FILE, 0o644, 1, stands_for, content=content))


ONE = encode_chunk_table([Reference(HASH, 5)])
RULES: dict[str, Callable[[Made], object]] = {
    "a top node that is missing": lambda made: None,
    "a folder that is missing": lambda made: made.folder(sub(b"a", HASH)),
    "a folder that is a chunk table": lambda made: made.folder(sub(b"a", made.add(ONE))),
    "a top folder with tmp": lambda made: made.folder(file(b"tmp")),
    "a top folder with .limpet-root": lambda made: made.folder(sub(b".limpet-root", made.folder())),
    "a hard link to nothing": lambda made: made.folder(hard(b"b", b"a")),
    "a hard link to itself": lambda made: made.folder(hard(b"a", b"a")),
    "a hard link to a later name": lambda made: made.folder(hard(b"a", b"b"), file(b"b")),
    "a hard link into a sub-folder, which comes later": lambda made: made.folder(
        sub(b"a", made.folder(file(b"a"))), hard(b"b", b"a/a")
    ),
    "a hard link to a folder": lambda made: made.folder(
        sub(b"a", made.folder()), sub(b"b", made.folder(hard(b"a", b"a")))
    ),
    "a hard link to a hard link": lambda made: made.folder(
        file(b"a"), hard(b"b", b"a"), hard(b"c", b"b")
    ),
    "a hard link through a symlink": lambda made: made.folder(
        link(b"a", b"b"), sub(b"b", made.folder(file(b"a"))),
        sub(b"c", made.folder(hard(b"a", b"a/a"))),
    ),
    "a hard link through a file": lambda made: made.folder(
        file(b"a"), sub(b"c", made.folder(hard(b"a", b"a/a")))
    ),
    "a node below of the same level": lambda made: made.branches(
        1, (b"a", made.branches(1, (b"a", made.folder(file(b"a")))))
    ),
    "a node below of two levels less": lambda made: made.branches(
        2, (b"a", made.folder(file(b"a")))
    ),
    "a node below that is empty": lambda made: made.branches(1, (b"a", made.folder())),
    "a node below that begins with another name": lambda made: made.branches(
        1, (b"a", made.folder(file(b"b")))
    ),
    "nodes below that overlap": lambda made: made.branches(
        1, (b"a", made.folder(file(b"a"), file(b"c"))), (b"b", made.folder(file(b"b")))
    ),
    "a name in two nodes below": lambda made: made.branches(
        1, (b"a", made.folder(file(b"a"), file(b"b"))), (b"b", made.folder(file(b"b")))
    ),
    "a node below that is missing": lambda made: made.branches(1, (b"a", HASH)),
    "a chunk table that is missing": lambda made: made.folder(
        Entry(
            b"a", LISTED_FILE, 0o644, 1, 5, content=Content((), True, (Reference(HASH, 5),))
        )
    ),
    "a chunk table that is a node": lambda made: listed(made, lambda: encode_entries([]), 5),
    "a chunk table of fewer bytes": lambda made: listed(made, lambda: ONE, 6),
    "a chunk table of more bytes": lambda made: listed(made, lambda: ONE, 4),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_a_tree_that_breaks_a_rule_is_refused(rule: str) -> None:
    made = tree(RULES[rule])
    assert oracles(lambda: told_by_the_oracle(made)) == REFUSED
    assert ours(lambda: told_by_ours(made)) == REFUSED


@pytest.mark.parametrize(
    "build",
    [
        lambda made: made.folder(),
        lambda made: made.folder(sub(b"a", made.folder(file(b"tmp")))),
        lambda made: made.folder(file(b"a"), hard(b"b", b"a"), hard(b"c", b"a")),
        lambda made: made.folder(link(b"a"), hard(b"b", b"a")),
        lambda made: made.folder(sub(b"a", made.folder(hard(b"a", b"z"))), empty(b"z")),
        lambda made: made.folder(
            sub(b"a", made.folder(file(b"z"))), sub(b"a b", made.folder(hard(b"a", b"a/z")))
        ),
        lambda made: made.branches(
            2,
            (
                b"a",
                made.branches(1, (b"a", made.folder(file(b"a"))), (b"b", made.folder(file(b"b")))),
            ),
            (b"c", made.branches(1, (b"c", made.folder(file(b"c"))))),
        ),
        lambda made: listed(made, lambda: ONE, 5),
    ],
)  # fmt: skip
def test_trees_that_break_none_are_walked(build: Callable[[Made], object]) -> None:
    made = tree(build)
    assert told_by_ours(made) == told_by_the_oracle(made)


def test_one_folder_at_many_places_is_met_at_each() -> None:
    made = Made()
    inner = made.folder(file(b"a"))
    made.folder(sub(b"x", inner), sub(b"y", inner))
    assert [told[0] for told in told_by_ours(made)] == [b"x", b"x/a", b"y", b"y/a"]
    assert told_by_ours(made) == told_by_the_oracle(made)


def test_frames_of_data_are_no_folders() -> None:
    trees = TreeBlobs()
    with pytest.raises(SnapshotDamagedError):
        trees.add_frame(encode_frame("data", [b"x"]))


def test_a_path_is_found_or_not() -> None:
    made = Made()
    inner = made.folder(file(b"a"), link(b"l"))
    top = made.folder(sub(b"x", inner), file(b"y"))
    trees = TreeBlobs()
    for blob in made.blobs.values():
        trees.add_frame(encode_frame("tree", [blob]))
    assert trees.find(top, b"x/a") == file(b"a")
    assert trees.find(top, b"x") == sub(b"x", inner)
    for path in (b"", b"z", b"x/z", b"y/a", b"x/l/a", b"x/a/b", b"x/", b"/x"):
        assert trees.find(top, path) is None
