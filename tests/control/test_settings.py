from pathlib import Path

import pytest

from limpet.control.settings import Settings, SettingsError


def test_the_defaults_are_those_of_one_person_on_one_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("LIMPET_DATA_DIR", raising=False)
    settings = Settings.load()
    assert settings.data_dir == tmp_path / ".local/share/limpet"
    assert settings.effective_database_url.endswith("/.local/share/limpet/limpet.sqlite3")
    assert settings.uses_sqlite


def test_the_environment_is_read_and_the_caller_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LIMPET_DATA_DIR", str(tmp_path / "env"))
    monkeypatch.setenv("LIMPET_PORT", "8080")
    monkeypatch.setenv("LIMPET_IDLE_S", "")
    settings = Settings.load(data_dir=tmp_path / "given", port=None)
    assert (settings.data_dir, settings.port, settings.idle_s) == (tmp_path / "given", 8080, 60.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "65536"),
        ("PORT", "seventy"),
        ("POLL_S", "0"),
        ("IDLE_S", "-1"),
        ("ISOLATION", "maybe"),
        ("NETWORK", "none"),
        ("EGRESS_DENY", "10.0.0.0/33"),
        ("SANDBOX_HOST_PORTS", "5432, http"),
        ("SANDBOX_MEMORY_BYTES", "1"),
        ("SANDBOX_PIDS", "2"),
        ("SANDBOX_CPUS", "0"),
        ("TEAM", "perhaps"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"LIMPET_{name}", value)
    with pytest.raises(SettingsError, match=f"LIMPET_{name}"):
        Settings.load()


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMPET_SECRET_KEY", "hunter2")
    monkeypatch.setenv("LIMPET_DATABASE_URL", "postgresql+asyncpg://u:hunter3@db/limpet")
    shown = repr(Settings.load()) + Settings.load().model_dump_json()
    assert "hunter" not in shown
