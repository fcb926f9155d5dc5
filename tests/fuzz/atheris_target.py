"""One coverage-guided target in a process of its own; the first argument names it.

libFuzzer ends the process, so the runner (`tests.fuzz`) starts one for each target.
"""

import sys

import atheris

with atheris.instrument_imports(include=["limpet.snapshots", "tests.fuzz.targets"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz the target named by the first argument; the others are libFuzzer's."""
    target = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
