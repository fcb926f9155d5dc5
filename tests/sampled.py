"""Which of many like cases an ordinary run tries: one in so many; the others are `make deep`'s."""

from collections.abc import Iterable

import pytest


def one_in(every: int, cases: Iterable[object]) -> list[object]:
    """The cases of a `parametrize`, all but each `every`th marked `deep`, from the first on."""
    return [case if number % every == 0 else _deep(case) for number, case in enumerate(cases)]


def _deep(case: object) -> object:
    if isinstance(case, tuple) and hasattr(case, "marks"):
        return case._replace(marks=[*case.marks, pytest.mark.deep])
    values = case if isinstance(case, tuple) else (case,)
    return pytest.param(*values, marks=pytest.mark.deep)
