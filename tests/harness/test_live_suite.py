"""`make live` itself: what it asks, and that it can fail. The models are scripted here."""

import pytest

from tests.models import live
from tests.models.scenario import load, names
from tests.models.server import KEY, scripted

pytestmark = pytest.mark.anyio


def scripted_replies() -> list[object]:
    return [reply for name in names() if load(name).live for reply in load(name).replies]


@pytest.fixture(autouse=True)
def no_real_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


async def test_without_a_key_it_says_which_to_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert await live.main() == 0
    assert "skipped" in capsys.readouterr().out


@pytest.mark.parametrize("lost", [0, 1])
async def test_it_counts_what_came_out_right(
    lost: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replies = scripted_replies()
    async with scripted(replies[: len(replies) - 2 * lost]) as models:
        monkeypatch.setenv("LIMPET_LIVE_BASE_URL", f"{models.url}/v1")
        monkeypatch.setenv("LIMPET_LIVE_MODEL", "qwen3-coder")
        monkeypatch.setenv("LIMPET_LIVE_KEY", KEY)
        assert await live.main() == lost
    said = capsys.readouterr().out
    assert f"live: {3 - lost} of 3 scenarios" in said
    assert KEY not in said


def test_every_key_makes_its_choices() -> None:
    environ = {"ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": "b", "GEMINI_API_KEY": "c"}
    providers = [choice.provider for choice in live.choices(environ)]
    assert providers == ["anthropic", "openai", "openai-compatible", "google"]
