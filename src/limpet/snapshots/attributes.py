"""What is never carried of an entry beside its looks: extended attributes and ACLs, counted."""

import os
from typing import Final

from limpet.snapshots.entry_contents import Drops

NO_DROPS: Final = Drops(0, 0)


def drops_of(fd: int) -> Drops:
    """How many there are on an open file or folder; none where the system does not tell."""
    try:
        names = os.listxattr(fd) if hasattr(os, "listxattr") else []
    except OSError:
        return NO_DROPS
    if not names:
        return NO_DROPS
    acls = sum(name.startswith("system.posix_acl") for name in names)
    return Drops(len(names) - acls - names.count("security.selinux"), acls)
