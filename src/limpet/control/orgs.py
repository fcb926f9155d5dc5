"""Orgs. The embedded server has one, `local`, with one user, `owner`."""

from limpet.control.db import (
    EMBEDDED_ORG,
    EMBEDDED_USER,
    Database,
    MembershipRow,
    OrgRow,
    UserRow,
)
from limpet.control.secrets import SecretBox, UnsealError
from limpet.control.settings import SettingsError

_CHECK_PURPOSE = "key check"
_CHECK_VALUE = b"limpet"


async def ensure_embedded_org(database: Database, box: SecretBox) -> None:
    """The org and its owner, made at the first start.

    Raises `SettingsError` when the secret key is not one that this database's values open with:
    told at start, not when the first sandbox is lost over it.
    """
    async with database.session() as session:
        org = await session.get(OrgRow, EMBEDDED_ORG)
        if org is None:
            org = OrgRow(id=EMBEDDED_ORG, slug=EMBEDDED_ORG, name="Local")
            session.add_all([org, UserRow(id=EMBEDDED_USER, name="Owner")])
            await session.flush()
            session.add(MembershipRow(org_id=EMBEDDED_ORG, user_id=EMBEDDED_USER, role="owner"))
        if org.key_check is not None:
            try:
                box.open(org.key_check, purpose=_CHECK_PURPOSE, org=EMBEDDED_ORG)
            except UnsealError:
                raise SettingsError(
                    "The secret key is not the one that this data folder's values are sealed with",
                    hint="Set LIMPET_SECRET_KEY to the key used before (a new one may stand before "
                    "it, separated by a comma), or put secret.key back into the data folder.",
                ) from None
        else:
            org.key_check = box.seal(_CHECK_VALUE, purpose=_CHECK_PURPOSE, org=EMBEDDED_ORG)
