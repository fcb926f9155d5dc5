"""What differs between two snapshots, against a walk of both."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from limpet.snapshots.blobs import BlobHash, hash_of
from limpet.snapshots.diff import Change, Side, diff_trees, expand
from limpet.snapshots.frame import encode_frame
from limpet.snapshots.node import EMPTY_FILE, FILE, FOLDER, SYMLINK, Entry
from limpet.snapshots.node_encode import encode_folder
from limpet.snapshots.trees import TreeBlobs

Tree = Mapping[str, object]
"""Names to contents: bytes for a file, a mapping for a folder, a string for a symlink."""


def side(tree: Tree, *, mtime_ns: int = 1) -> Side:
    trees = TreeBlobs()

    def add(blob: bytes, _: BlobHash) -> None:
        trees.add_frame(encode_frame("tree", [blob]))

    def folder(content: Tree) -> BlobHash:
        return encode_folder((entry(name.encode(), content[name]) for name in sorted(content)), add)

    def entry(name: bytes, content: object) -> Entry:
        if isinstance(content, bytes):
            if not content:
                return Entry(name, EMPTY_FILE, 0o644, mtime_ns, 0)
            return Entry(name, FILE, 0o644, mtime_ns, len(content), hash_of(content))
        if isinstance(content, str):
            return Entry(name, SYMLINK, 0, mtime_ns, 0, target=content.encode())
        assert isinstance(content, Mapping)
        return Entry(name, FOLDER, 0o755, mtime_ns, 0, folder(content))

    return Side(trees, folder(tree))


def told(before: Tree, after: Tree) -> list[tuple[str, str] | tuple[str, str, str]]:
    changes = diff_trees(side(before), side(after))
    return [
        (one.kind, one.path.decode())
        if one.old_path is None
        else (one.kind, one.old_path.decode(), one.path.decode())
        for one in changes
    ]


def test_nothing_differs_between_equal_trees() -> None:
    tree = {"a": b"1", "f": {"x": b"2"}}
    assert told(tree, tree) == []


def test_added_removed_and_changed_files_are_told_by_path() -> None:
    before = {"src": {"a": b"1", "b": b"2"}, "gone": b"9"}
    after = {"src": {"a": b"1!", "b": b"2", "c": b"3"}}
    assert told(before, after) == [("removed", "gone"), ("changed", "src/a"), ("added", "src/c")]


def test_a_whole_folder_is_one_change_that_can_be_expanded() -> None:
    before, after = side({}), side({"lib": {"a": b"1", "deep": {"b": b"2"}}})
    [change] = diff_trees(before, after)
    assert (change.kind, change.path) == ("added", b"lib")
    expanded = [one.path for one in expand(change, before, after)]
    assert expanded == [b"lib", b"lib/a", b"lib/deep", b"lib/deep/b"]


def test_a_file_that_moved_is_renamed_and_the_nearest_source_is_taken() -> None:
    before = {"a": {"x": b"same", "y": b"same"}, "b": {}}
    after = {"a": {"y": b"same"}, "b": {"x": b"same"}}
    assert told(before, after) == [("renamed", "a/x", "b/x")]


def test_a_folder_that_moved_is_one_rename() -> None:
    content = {"p": b"1", "q": {"r": b"2"}}
    assert told({"old": content}, {"new": content}) == [("renamed", "old", "new")]


def test_a_folder_that_moved_and_changed_is_told_by_its_files() -> None:
    before = {"old": {"p": b"1", "q": b"2"}}
    after = {"new": {"p": b"1", "q": b"2 and more"}}
    assert told(before, after) == [
        ("added", "new"), ("renamed", "old/p", "new/p"), ("added", "new/q"),
        ("removed", "old"), ("removed", "old/q"),
    ]  # fmt: skip


def test_empty_files_are_never_renames() -> None:
    assert told({"a": b""}, {"b": b""}) == [("removed", "a"), ("added", "b")]


def test_a_new_kind_and_a_new_target_are_told() -> None:
    before, after = side({"a": b"1", "l": "x"}), side({"a": {"in": b"2"}, "l": "y"})
    assert [(one.path, one.what) for one in diff_trees(before, after)] == [
        (b"a", ("kind",)), (b"l", ("target",)),
    ]  # fmt: skip


def test_a_new_time_alone_is_told_on_request() -> None:
    before, after = side({"a": b"1"}), side({"a": b"1"}, mtime_ns=2)
    assert diff_trees(before, after) == []
    assert [one.what for one in diff_trees(before, after, times=True)] == [("time",)]


names = st.sampled_from(["a", "b", "c", "d"])
trees = st.recursive(
    st.binary(max_size=2), lambda inner: st.dictionaries(names, inner, max_size=4), max_leaves=12
).filter(lambda tree: isinstance(tree, dict))


def flat(one: Side) -> dict[bytes, Entry]:
    return {
        folder.path_of(entry.name): entry
        for folder in one.trees.walk(one.node)
        for entry in folder.entries
    }


@given(trees, trees)
def test_the_changes_lead_from_one_tree_to_the_other(old: Tree, new: Tree) -> None:
    before, after = side(old), side(new)
    state = flat(before)
    every: list[Change] = []
    for change in diff_trees(before, after, times=True):
        every.extend(expand(change, before, after))
        if change.kind == "changed" and "kind" in change.what:
            for path in [p for p in state if p.startswith(change.path + b"/")]:
                del state[path]
            if change.after is not None and change.after.kind == FOLDER:
                whole = Change("added", change.path, None, change.after)
                every.extend(expand(whole, before, after))
    for change in every:
        if change.kind in {"removed", "renamed"}:
            state.pop(change.old_path or change.path, None)
    for change in every:
        if change.after is not None:
            state[change.path] = change.after
    wanted = flat(after)
    # A folder's own hash differs with what is below it, which has changes of its own.
    assert state.keys() == wanted.keys()
    for path, entry in wanted.items():
        assert entry.kind == FOLDER or state[path] == entry
