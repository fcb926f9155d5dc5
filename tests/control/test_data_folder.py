import json
import os
import stat
from pathlib import Path

import pytest

from limpet.control.data_folder import (
    DataFolderBusyError,
    DataFolderError,
    announced,
    held,
    network_file_system,
)


def test_a_second_holder_is_told_who_the_first_is(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with (
        held(folder, local_only=True),
        pytest.raises(DataFolderBusyError, match=f"process {os.getpid()}"),
        held(folder, local_only=True),
    ):
        raise AssertionError("held twice")
    with held(folder, local_only=True):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_lock_that_a_dead_holder_left_is_free(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        held(tmp_path, local_only=True).__enter__()
        os._exit(0)
    os.waitpid(child, 0)
    assert (tmp_path / "serve.lock").read_text() == f"{child}\n"
    with held(tmp_path, local_only=True):
        assert (tmp_path / "serve.lock").read_text() == f"{os.getpid()}\n"


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/limpet")):
        with pytest.raises(DataFolderError, match="cannot be used"), held(folder, local_only=True):
            raise AssertionError("held")


MOUNTS = r"""21 1 8:1 / / rw,relatime - ext4 /dev/vda rw
30 21 0:30 / /home rw - nfs4 server:/home rw
31 30 0:31 / /home/local rw,relatime shared:1 - xfs /dev/vdb rw
32 21 0:32 / /mnt/with\040space rw - cifs //server/share rw
33 21 0:33 / /mnt/ssh rw - fuse.sshfs host: rw
34 21 0:34 / /tmp rw - tmpfs tmpfs rw
35 21 0:35 / /mnt/over rw - nfs server:/x rw
36 21 0:36 / /mnt/over rw - ext4 /dev/vdc rw
a broken line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", None),
        ("/home", "nfs4"),
        ("/home/me/.local/share/limpet", "nfs4"),
        ("/home/local/me", None),
        ("/homeless", None),
        ("/mnt/with space/x", "cifs"),
        ("/mnt/ssh/x", "fuse.sshfs"),
        ("/tmp/x", None),
        ("/mnt/over/x", None),
    ],
)
def test_network_file_systems_are_recognised(path: str, kind: str | None) -> None:
    assert network_file_system(Path(path), MOUNTS) == kind


def test_this_machines_own_mounts_can_be_read() -> None:
    assert network_file_system(Path("/proc")) is None


def test_the_announcement_is_for_its_owner_alone_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "server.json"
    with announced(tmp_path, url="http://127.0.0.1:1", api_key="k"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert json.loads(path.read_text()) == {
            "url": "http://127.0.0.1:1",
            "pid": os.getpid(),
            "api_key": "k",
        }
    assert list(tmp_path.iterdir()) == []
