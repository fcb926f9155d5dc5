"""Files that are marked as secrets, by their names."""

import pytest

from limpet.snapshots.secret_names import holds_secrets


@pytest.mark.parametrize(
    ("path", "secret"),
    [
        (b"home/.claude/.credentials.json", True),
        (b"home/.aws/credentials", True),
        (b"repo/.env.local", True),
        (b"repo/.env.example", False),
        (b"home/.claude/settings.json", False),
        (b"repo/src/credentials.json.ts", False),
    ],
)
def test_a_file_that_likely_holds_secrets_is_told_by_its_name(path: bytes, secret: bool) -> None:
    assert holds_secrets(path) is secret
