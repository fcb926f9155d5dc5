"""Whether a page keeps the rules of WCAG 2.2 AA, as axe-core finds them."""

from playwright.sync_api import Page

from tests.live import REPOSITORY

AXE = REPOSITORY / "web" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def violations(page: Page) -> list[str]:
    """The rules that are broken and by what; what a preview shows is its own affair."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("tags => axe.run({ runOnly: tags, iframes: false })", RULES)
    return [
        f"{one['id']}: {node['html'][:200]}" for one in found["violations"] for node in one["nodes"]
    ]


def assert_accessible(page: Page) -> None:
    """No rule is broken, in the light or in the dark."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        broken = violations(page)
        assert not broken, f"{scheme}: {broken}"
