"""Keys: distinct inputs give distinct keys, none is a prefix of another, nothing escapes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limpet.errors import InvalidInputError
from limpet.ids import AgentId, Branch, OrgId, SnapshotId
from limpet.stores.keys import (
    check_key,
    head_key,
    heads_prefix,
    legacy_tar_key,
    safe_branch,
    safe_name,
    safe_org,
    tar_key,
)

ODD = st.sampled_from(
    ["a", "A", "a~", ".", "..", "-", "a.b", "a~0123456789ab", "ß", "SS", "\0", " ", "a" * 200, "é"]
)
NAMES = st.one_of(ODD, st.text(min_size=1, max_size=300), ODD.flatmap(lambda o: st.just(o + "x")))
BRANCHES = st.lists(NAMES.map(lambda n: n.replace("/", "_")), min_size=1, max_size=3).map("/".join)
LINEAGES = st.sampled_from(["main", "side-0123456789ab", "side-ffffffffffff"])
ORG, AGENT = OrgId("local"), AgentId("agt_1")


@given(NAMES, NAMES)
def test_distinct_names_give_distinct_parts_even_when_case_is_folded(one: str, two: str) -> None:
    assert (safe_name(one) == safe_name(two)) == (one == two)
    assert safe_name(one) == safe_name(one).casefold()


@given(NAMES)
def test_a_name_that_looks_hashed_is_hashed(name: str) -> None:
    part = safe_name(name)
    assert (part == name) == (safe_name(part) == part)


@given(NAMES, NAMES)
def test_distinct_orgs_never_meet_nor_reach_the_operators_space(one: str, two: str) -> None:
    assert (safe_org(OrgId(one)) == safe_org(OrgId(two))) == (one == two)
    for org in (one, "_templates", "_doctor"):
        assert safe_org(OrgId(org)) not in ("_templates", "_doctor")


@given(NAMES)
def test_a_part_is_safe_on_every_file_system(name: str) -> None:
    part = safe_name(name)
    assert re.fullmatch(r"[a-z0-9._~-]{1,128}", part)
    assert not part.startswith(".")


@given(BRANCHES, LINEAGES, BRANCHES, LINEAGES)
def test_heads_of_distinct_lineages_never_meet(a: str, la: str, b: str, lb: str) -> None:
    one = heads_prefix(ORG, AGENT, Branch(a), la)
    two = heads_prefix(ORG, AGENT, Branch(b), lb)
    if (a, la) == (b, lb):
        assert one == two
    else:
        assert one != two
        first, second = (f"{p}000000000001" for p in (one, two))
        assert not first.startswith(second + "/")
        assert not second.startswith(first + "/")


@given(BRANCHES, LINEAGES, BRANCHES)
def test_no_key_is_a_path_prefix_of_another(a: str, lineage: str, b: str) -> None:
    snapshot = SnapshotId("20260101t000000z-abcdef")
    keys = {
        head_key(ORG, AGENT, Branch(a), 1, lineage),
        tar_key(ORG, AGENT, Branch(a), snapshot),
        head_key(ORG, AGENT, Branch(b), 2),
        tar_key(ORG, AGENT, Branch(b), snapshot),
    }
    for one in keys:
        assert check_key(one) == one or len(one) > 1000
        assert not any(other != one and other.startswith(one + "/") for other in keys)


def test_safe_names_stay_as_they_are() -> None:
    assert safe_branch("limpet/bright-cove") == "limpet/bright-cove"
    assert legacy_tar_key(ORG, AGENT, Branch("main")) == "local/agt_1/main.tar"


@pytest.mark.parametrize("name", ["..", ".", ".git", "../../etc"])
def test_dots_cannot_survive(name: str) -> None:
    assert ".." not in safe_name(name).split("~")[0] or not safe_name(name).startswith(".")
    assert not safe_name(name).startswith(".")


def test_an_empty_name_is_an_error() -> None:
    for build in (lambda: safe_name(""), lambda: safe_branch("a//b"), lambda: safe_branch("")):
        with pytest.raises(InvalidInputError):
            build()


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "a/../b", ".a", "a/.b", "A", "a\0", "x" * 1001]
)
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidInputError):
        check_key(key)


def test_generations_sort_as_numbers_do() -> None:
    keys = [head_key(ORG, AGENT, Branch("b"), n) for n in (1, 9, 10, 99, 100_000)]
    assert keys == sorted(keys)
    with pytest.raises(InvalidInputError):
        head_key(ORG, AGENT, Branch("b"), 0)
