"""What is counted of a build, and that this one's first page is within its budget."""

from pathlib import Path

from tests.e2e.budget import DIST, MOST_BYTES, first_scripts


def test_what_is_imported_at_once_is_counted_and_what_may_come_later_is_not(
    tmp_path: Path,
) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    (tmp_path / "index.html").write_text(
        '<script type="module" crossorigin src="/assets/entry.js"></script>'
        '<link rel="modulepreload" crossorigin href="/assets/preloaded.js">'
        '<link rel="stylesheet" href="/assets/look.css">'
    )
    sources = {
        "entry.js": 'import{a as b}from"./static.js";import"./bare.js";;()=>import("./late.js")',
        "static.js": 'var d=1;export*from"./again.js";export{d as a}',
        "again.js": 'import"./static.js";',
        "bare.js": 'new Worker(new URL("./worker.js",import.meta.url))',
        "preloaded.js": "",
        "late.js": "late()",
        "worker.js": "work()",
    }
    for name, text in sources.items():
        (assets / name).write_text(text)
    assert set(first_scripts(tmp_path)) == {
        "entry.js", "static.js", "again.js", "bare.js", "preloaded.js"
    }  # fmt: skip


def test_the_first_page_is_small() -> None:
    sizes = first_scripts(DIST)
    assert sizes
    assert sum(sizes.values()) < MOST_BYTES, sizes
