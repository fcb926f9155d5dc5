"""One look at a whole workspace: what changed is read and sent, what did not is taken as known.

The result is a root, the tree blobs below it that the base lacks, and what a stat cache of the new
state holds. docs/decisions/0011-packs-trees-and-heads.md says why folders are compared whole.
"""

import contextlib
from collections.abc import Callable, Collection, Generator
from pathlib import Path
from typing import Final

from limpet.snapshots.assemble import Assembly
from limpet.snapshots.file_clock import FileClock
from limpet.snapshots.folder_reader import FolderReader
from limpet.snapshots.linked import Linked
from limpet.snapshots.mapped import MappedFiles
from limpet.snapshots.native import parse_records
from limpet.snapshots.node import MAX_MODE, Root
from limpet.snapshots.outgoing import Outgoing
from limpet.snapshots.remarks import Remarks
from limpet.snapshots.statcache import StatCache, StatCaches
from limpet.snapshots.survey import Looking, SurveyedFolder, survey, survey_late
from limpet.snapshots.tally import Tally, Totals

_SIZE: Final = Tally._fields.index("size_bytes")


class Scan:
    """Looks at a workspace once. `run` to the end, then `root`, `tally` and `write_cache`.

    `exclude_top` names what is left out at the top. `go_on` is called now and then, in any thread;
    what it raises ends the scan. `spare` is a folder for a short-lived file on the workspace's file
    system, for those that make none without a name. Raises `OSError` when the workspace itself
    cannot be read.
    """

    def __init__(
        self,
        workspace_fd: int,
        exclude_top: Collection[bytes],
        cache: StatCache | None,
        outgoing: Outgoing,
        *,
        spare: Path | None = None,
        go_on: Callable[[], None] = lambda: None,
    ) -> None:
        self.remarks = Remarks()
        self._cache = cache
        self._outgoing = outgoing
        self._spare = spare
        self._looking = Looking(workspace_fd, cache, frozenset(exclude_top), go_on)
        self._survey = survey(self._looking, self.remarks)
        self._linked = Linked()
        self._assembly = Assembly(self._linked, cache, outgoing.tree)
        self._root: Root | None = None
        self._tally: Tally | None = None

    @property
    def folders(self) -> list[SurveyedFolder]:
        """Every folder, each before those below it."""
        return self._survey.folders

    @property
    def unchanged(self) -> bool:
        """Whether nothing at all, the root's own looks aside, differs from the cache."""
        return self._cache is not None and not self._survey.changed

    @property
    def root(self) -> Root:
        """The state that was found."""
        assert self._root is not None
        return self._root

    @property
    def tally(self) -> Tally:
        """What the state holds."""
        assert self._tally is not None
        return self._tally

    @property
    def entries(self) -> int:
        """How many entries the state has, the root among them."""
        found = self.tally
        return len(self.folders) + found.files + found.symlinks + found.hard_links

    def size_of(self, folder: SurveyedFolder) -> int:
        """The sizes of all files right in a folder, by each of their names; before `run`."""
        if folder.records is not None:
            return folder.size_bytes
        assert self._cache is not None
        return self._cache.tally(folder.row)[_SIZE]

    def size_bytes(self) -> int:
        """The sizes of all files together, each once; before `run`."""
        assert self._root is None
        if self.unchanged and self._cache is not None:
            return self._cache.sums.size_bytes
        totals = Totals()
        for folder in self.folders:
            totals.add(Tally(size_bytes=self.size_of(folder)))
            if folder.records is not None:
                totals.add_links(parse_records(folder.records), {})
            elif folder.always_look and self._cache is not None:
                totals.add_links(parse_records(self._cache.at(folder.row).records), {})
        return totals.whole().size_bytes

    def run(self) -> Generator[None, None, None]:
        """Do it; stops now and then so that what is ready can be sent."""
        if self.unchanged:
            assert self._cache is not None
            node, self._tally = self._cache.node(self._cache.row(b"")), self._cache.sums
        else:
            yield from self._read()
            node = self._assembly.finish(self.folders)
            yield
            self._tally = self._count()
        self._tally.remark(self.remarks)
        self._root = Root(node, self._survey.mode & MAX_MODE, self._survey.mtime_ns)

    def write_cache(self, caches: StatCaches) -> None:
        """Keep what was seen for the saves to come. Raises `OSError`."""
        if self.unchanged and self._cache is not None:
            if self._cache.root_digest != self.root.digest:
                caches.copy(self._cache, self.root.digest)
            return
        with caches.create(self.tally) as writer:
            for folder in self.folders:
                self._assembly.write(folder, writer)
            writer.commit(self.root.digest)

    def _read(self) -> Generator[None, None, None]:
        found, cache = self._survey, self._cache
        same = {
            folder.path: folder
            for folder in found.folders
            if folder.always_look and not folder.late
        }
        if cache is not None:
            self._linked.learn(cache, same)
        with contextlib.ExitStack() as opened:
            clock = opened.enter_context(FileClock(self._looking.root_fd, self._spare))
            reader = opened.enter_context(
                FolderReader(
                    self._looking.root_fd, cache, self._linked, self._outgoing, self.remarks,
                    clock, MappedFiles(),
                )
            )  # fmt: skip
            for folder in [one for one in found.folders if not one.late]:
                yield from self._look(reader, folder)
            yield from reader.rest()
            if reader.has_read and found.late_roots:
                survey_late(self._looking, found, self.remarks)
            for folder in [one for one in found.folders if one.late]:
                if folder.always_look and cache is not None:
                    self._linked.learn_late(cache, folder)
                yield from self._look(reader, folder)
            yield from reader.finish()
            self._assembly.take(reader.packed)

    def _look(self, reader: FolderReader, folder: SurveyedFolder) -> Generator[None, None, None]:
        if folder.records is not None:
            yield from reader.look(folder)
            self._looking.go_on()

    def _count(self) -> Tally:
        totals = Totals()
        for folder in self.folders:
            totals.add(self._assembly.tally(folder))
            if self._assembly.always_look(folder):
                known = self._assembly.at(folder)
                totals.add_links(parse_records(known.records), known.drops())
        return totals.whole()
