"""Random trees and random edits: a delta never differs from a full read, and always suffices.

`LIMPET_FUZZ_EXAMPLES` asks for more than the few hundred of an ordinary run.
"""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.snapshots.edits import Edit, carry_out, rounds
from tests.snapshots.saves import Saves, State
from tests.snapshots.trees import Description, Folder, build, describe, scratch_folder, trees

pytestmark = pytest.mark.long

EXAMPLES = int(os.environ.get("LIMPET_FUZZ_EXAMPLES", "200"))
many = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[*HealthCheck], derandomize=False
)
several = settings(many, max_examples=max(60, EXAMPLES // 4))
LEFT_OUT = (b"tmp", b".limpet-root")


def saved(found: Description) -> Description:
    """What of a tree a snapshot carries."""
    return {path: told for path, told in found.items() if told[0] != "special"}


@many
@given(trees())
def test_a_tree_is_saved_bit_for_bit(tree: Folder) -> None:
    with scratch_folder() as folder:
        saves = Saves(folder)
        build(saves.workspace, tree)
        state = saves.save()
        assert state.tree == describe(saves.workspace, leave_out=LEFT_OUT)
        assert not state.sent_twice
        again = saves.save()
        assert again.unchanged
        assert not again.sent_data
        assert not again.sent_trees


@several
@given(rounds, st.data())
def test_save_after_save_a_delta_is_what_a_full_read_is(
    every: list[list[Edit]], data: st.DataObject
) -> None:
    with scratch_folder() as folder:
        saves = Saves(folder)
        saves.workspace.mkdir()
        states: list[State] = []
        for edits in every:
            for edit in edits:
                carry_out(saves.workspace, edit)
            base = data.draw(st.sampled_from([None, *states])) if data.draw(st.booleans()) else (
                saves.last
            )  # fmt: skip
            saves.last = state = saves.save_from(base)
            full = saves.full()
            assert state.digest == full.digest
            assert state.tree == saved(describe(saves.workspace)) == full.tree
            assert not state.sent_twice
            told, full_told = state.receipt, full.receipt
            assert (told.entries, told.files, told.bytes) == (
                full_told.entries, full_told.files, full_told.bytes,
            )  # fmt: skip
            assert told.counts == full_told.counts
            assert told.skipped == full_told.skipped
            assert told.complete
            if base is not None:
                assert not set(state.sent_data) & set(base.data)
                assert not set(state.sent_trees) & set(base.trees)
            states.append(state)
