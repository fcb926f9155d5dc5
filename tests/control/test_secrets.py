import base64
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limpet.control.secrets import SecretBox, UnsealError, parse_keys
from limpet.control.settings import Settings, SettingsError

OLD, NEW = bytes(32), bytes(range(32))


@given(st.binary(), st.text(), st.text())
def test_what_is_sealed_opens_again(data: bytes, purpose: str, org: str) -> None:
    box = SecretBox([OLD])
    assert box.open(box.seal(data, purpose=purpose, org=org), purpose=purpose, org=org) == data


def test_the_same_value_is_sealed_differently_each_time() -> None:
    box = SecretBox([OLD])
    assert box.seal("x", purpose="p", org="o") != box.seal("x", purpose="p", org="o")


@pytest.mark.parametrize(("purpose", "org"), [("other", "org"), ("purpose", "other"), ("", "")])
def test_a_value_moved_to_another_purpose_or_org_does_not_open(purpose: str, org: str) -> None:
    box = SecretBox([OLD])
    with pytest.raises(UnsealError):
        box.open(box.seal("x", purpose="purpose", org="org"), purpose=purpose, org=org)


def test_a_changed_byte_anywhere_is_told() -> None:
    box = SecretBox([OLD])
    sealed = box.seal("a secret", purpose="p", org="o")
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(UnsealError):
            box.open(bytes(changed), purpose="p", org="o")
    with pytest.raises(UnsealError):
        box.open(b"", purpose="p", org="o")


def test_the_first_key_seals_and_every_key_opens() -> None:
    sealed_by_old = SecretBox([OLD]).seal("x", purpose="p", org="o")
    rotated = SecretBox([NEW, OLD])
    assert rotated.open(sealed_by_old, purpose="p", org="o") == b"x"
    sealed_by_new = rotated.seal("x", purpose="p", org="o")
    assert SecretBox([NEW]).open(sealed_by_new, purpose="p", org="o") == b"x"
    with pytest.raises(UnsealError, match="not configured"):
        SecretBox([OLD]).open(sealed_by_new, purpose="p", org="o")


def test_keys_are_base64_of_either_alphabet_with_or_without_padding() -> None:
    key = os.urandom(31) + b"\xff"
    forms = [base64.b64encode(key).decode(), base64.urlsafe_b64encode(key).decode().rstrip("=")]
    assert parse_keys(", ".join(forms), "here") == [key, key]


@pytest.mark.parametrize(
    "text", ["", "abc", "AAAA", "€" * 32, base64.b64encode(OLD).decode() + ","]
)
def test_a_bad_key_is_an_error_that_names_its_place_but_not_the_key(text: str) -> None:
    with pytest.raises(SettingsError, match=r"Key [12] in LIMPET_SECRET_KEY") as caught:
        parse_keys(text, "LIMPET_SECRET_KEY")
    assert text == "" or text not in caught.value.message


def test_the_data_folders_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    sealed = SecretBox.open_for(settings).seal("x", purpose="p", org="o")
    assert SecretBox.open_for(settings).open(sealed, purpose="p", org="o") == b"x"
    assert stat.S_IMODE((tmp_path / "secret.key").stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["secret.key"]


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    SecretBox.open_for(settings)
    (tmp_path / "secret.key").chmod(0o644)
    with pytest.raises(SettingsError, match="other users"):
        SecretBox.open_for(settings)


def test_a_damaged_key_file_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    path.write_bytes(b"\xff\xfe")
    path.chmod(0o600)
    with pytest.raises(SettingsError, match=r"secret\.key"):
        SecretBox.open_for(Settings(data_dir=tmp_path))
    assert path.read_bytes() == b"\xff\xfe"


def test_a_shared_database_needs_a_key_of_its_own(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url="postgresql+asyncpg://db/limpet")
    with pytest.raises(SettingsError, match="LIMPET_SECRET_KEY is required"):
        SecretBox.open_for(settings)
