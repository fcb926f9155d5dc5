"""Which of two entries a walk meets earlier, against a walk."""

from hypothesis import given
from hypothesis import strategies as st

from limpet.snapshots.judge_links import LinkJudge
from limpet.snapshots.node import HARD_LINK, BadNodeError, Entry

PARTS = st.lists(st.sampled_from([b"a", b"a!", b"ab", b"b", b"\x01", b"\xff"]), max_size=4)


@given(
    folder=PARTS,
    name=st.sampled_from([b"a", b"b"]),
    to=PARTS,
    to_name=st.sampled_from([b"a", b"b"]),
)
def test_the_order_is_that_of_a_walk(
    folder: list[bytes], name: bytes, to: list[bytes], to_name: bytes
) -> None:
    target = b"/".join([*to, to_name])
    link = Entry(name, HARD_LINK, 0, 0, 0, target=target)
    earlier = (to, to_name) < (folder, name)
    try:
        LinkJudge().meet(b"/".join(folder), link, None)
    except BadNodeError:
        assert not earlier
    else:
        assert earlier
