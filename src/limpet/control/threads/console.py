"""Console errors of previews, as browser tabs that show them tell; in memory, the last ones."""

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Final

from limpet.ids import Handle

KEPT: Final = 50
MAX_SANDBOXES: Final = 2000


class PreviewConsoles:
    """What was heard of each sandbox's preview. A server knows only its own tabs."""

    def __init__(self) -> None:
        self._heard: OrderedDict[str, deque[str]] = OrderedDict()

    def hear(self, handle: str, errors: Sequence[str], *, reset: bool) -> None:
        """Keep errors; with `reset` what came before is forgotten: a page was loaded anew."""
        heard = self._heard.setdefault(handle, deque(maxlen=KEPT))
        self._heard.move_to_end(handle)
        if reset:
            heard.clear()
        heard.extend(errors)
        while len(self._heard) > MAX_SANDBOXES:
            self._heard.popitem(last=False)

    def errors(self, handle: Handle) -> Sequence[str] | None:
        """The last errors, oldest first; None when no tab has told anything."""
        heard = self._heard.get(handle)
        return None if heard is None else tuple(heard)
