"""The benchmark of the store runs, counts what it should and finds its own bars."""

from pathlib import Path

from bench.store.__main__ import CASES, OURS, measure, table


def test_a_small_run_measures_saves_restores_forks_and_sandboxes(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    found = measure(
        tmp_path, server="moto", files=12, rounds=1, count=3, template_files=20, peers=False
    )
    assert set(found["cases"]) == set(CASES)
    for name in CASES:
        assert set(found["cases"][name]["times_s"]) == {OURS, "Limpet, packs at hand"}
    requests = found["requests"]
    assert requests["save, first"][OURS]["PUT"] >= 3, "a pack, a tree, a head"
    assert "PUT" not in requests["save, nothing changed"][OURS]
    assert requests["restore"]["Limpet, packs at hand"] == {}
    assert requests["fork"][OURS]["PUT"] == 1
    shown = table(found)
    assert "yes  a fork: under 1 s" in shown
    assert "3 sandboxes of a template of" in shown
