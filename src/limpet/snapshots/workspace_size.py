"""How much a workspace may hold, told from its listings before anything is read or sent."""

from typing import Final

from limpet.errors import LimpetError
from limpet.snapshots.scan import Scan
from limpet.snapshots.survey import SurveyedFolder
from limpet.snapshots.tar_format import show

_LARGEST_SHOWN: Final = 10


class WorkspaceTooLargeError(LimpetError):
    """The workspace holds more than may be saved; nothing was sent."""

    code = "workspace_too_large"
    status = 413


def check_size(scan: Scan, limit_bytes: int) -> None:
    """Raise `WorkspaceTooLargeError` when all files together are larger than `limit_bytes`.

    Holes count, further names of a file do not.
    """
    size_bytes = scan.size_bytes()
    if size_bytes <= limit_bytes:
        return
    largest = largest_folders(scan.folders, [scan.size_of(folder) for folder in scan.folders])
    listed = ", ".join(f"{show(path) or '.'} ({size:,} bytes)" for path, size in largest)
    raise WorkspaceTooLargeError(
        f"The workspace holds {size_bytes:,} bytes; {limit_bytes:,} may be saved. "
        f"Its largest folders: {listed}",
        hint="Delete what is not needed, or move it to tmp/, which is never saved.",
    )


def largest_folders(
    folders: list[SurveyedFolder], size_bytes: list[int]
) -> list[tuple[bytes, int]]:
    """The ten folders that hold the most, with what is below them; each the innermost such one.

    `size_bytes` are the sizes of the files right in each folder. A folder is passed over when one
    below it holds most of the same bytes.
    """
    totals = list(size_bytes)
    heaviest = [0] * len(folders)
    for number in range(len(folders) - 1, 0, -1):
        parent = folders[number].parent
        assert parent is not None
        totals[parent.number] += totals[number]
        heaviest[parent.number] = max(heaviest[parent.number], totals[number])
    found = [
        (total, folders[number].path)
        for number, total in enumerate(totals)
        if total and 10 * heaviest[number] < 9 * total
    ]
    return [(path, total) for total, path in sorted(found, reverse=True)[:_LARGEST_SHOWN]]
