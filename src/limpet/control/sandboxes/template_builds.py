"""Templates with everything installed: snapshots that new sandboxes begin from.

The first sandbox of a template begins from its files and installs. Once that runs, a sandbox that
no user reaches installs the template again, and its snapshot goes into the operator's space, which
all orgs read: nothing of any user's is in it. docs/decisions/0013-installed-templates.md says why.
"""

import asyncio
import contextlib
import hashlib
import platform
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import structlog

from limpet.branches import is_synthetic
from limpet.control.sandboxes.daemons import Daemons, NotRunningError
from limpet.control.sandboxes.streams import from_thread
from limpet.control.sandboxes.templates_seed import (
    FALLBACK_BRANCH,
    Author,
    TemplateFailedError,
    content_hash,
    git,
    seed_tar,
)
from limpet.control.settings import Settings
from limpet.control.templates import Template
from limpet.errors import DaemonUnreachableError, LimpetError
from limpet.ids import AgentId, Branch, Handle, SnapshotId, handle_for
from limpet.runners.base import EnsureOptions, Runner, SandboxId
from limpet.snapshots.edited_tree import Edit, Moved
from limpet.snapshots.lineage import BranchRef, Head
from limpet.snapshots.repository import SaveSupersededError, SnapshotRepository
from limpet.stores.keys import TEMPLATES_ORG

BUILD_WITHIN_S: Final = 900.0
READY_WITHIN_S: Final = 600.0
NOT_AGAIN_FOR_S: Final = 600.0
"""A template that could not be built is left alone for so long."""
_LOOK_EVERY_S: Final = 0.5
_PATIENCE_S: Final = 10.0
_UNDER_WAY: Final = frozenset({"starting", "installing", "running"})
_AUTHOR: Final = Author("Limpet", "limpet@limpet.invalid")
_HEAD: Final = b"repo/.git/HEAD"
_CONFIG: Final = b"repo/.git/config"
log = structlog.get_logger(__name__)


class TemplateBuilds:
    """Finds installed templates, and has those made that are missing. Close it."""

    def __init__(
        self, runner: Runner, repository: SnapshotRepository, settings: Settings, daemons: Daemons
    ) -> None:
        self._runner = runner
        self._repository = repository
        self._settings = settings
        self._daemons = daemons
        self._builds: dict[BranchRef, asyncio.Task[None]] = {}
        self._failed_at_s: dict[BranchRef, float] = {}

    async def find(self, template: Template) -> Head | None:
        """The template as it is now, installed for such sandboxes as ours; None when nobody has.

        May raise `StoreUnavailableError`.
        """
        head = (await self._repository.lookup(await self._ref(template))).head
        return head if head is not None and head.packed is not None else None

    async def in_use(self, templates: Iterable[Template]) -> set[SnapshotId]:
        """The snapshots of these templates that sandboxes like ours begin with."""
        found = [await self.find(template) for template in templates]
        return {head.snapshot for head in found if head is not None}

    async def begin(self, installed: Head, ref: BranchRef, author: Author, *, fencing: int) -> Head:
        """The first snapshot of a branch, from an installed template; stores a few small files.

        Raises `LimpetError` when that cannot be.
        """
        edits = await self._edits(installed, ref.branch, author)
        return await self._repository.begin(installed, edits, ref=ref, fencing=fencing)

    async def want(self, template: Template, first: Handle) -> None:
        """Have the template built aside once the sandbox `first` is up, unless that is under way.

        So the one that somebody waits for has the machine to itself.
        """
        if not self._settings.template_builds:
            return
        ref = await self._ref(template)
        if ref in self._builds or time.monotonic() < self._failed_at_s.get(ref, 0.0):
            return
        self._builds[ref] = asyncio.create_task(self._build(template, ref, first))

    async def settle(self) -> None:
        """Wait for the builds under way."""
        await asyncio.gather(*self._builds.values())

    async def close(self) -> None:
        """Give up what is being built, and end its sandbox."""
        for build in self._builds.values():
            build.cancel()
        await asyncio.gather(*self._builds.values(), return_exceptions=True)

    # -- building ------------------------------------------------------------------------------

    async def _build(self, template: Template, ref: BranchRef, first: Handle) -> None:
        sandbox = _sandbox(ref)
        started_s = time.monotonic()
        try:
            async with asyncio.timeout(BUILD_WITHIN_S):
                with contextlib.suppress(NotRunningError, DaemonUnreachableError):
                    await self._until_ready(first)  # one that is gone leaves the machine to us
                await self._installed(template, sandbox)
                head = await self._saved(ref, sandbox)
            log.info(
                "template_built",
                template=template.name,
                snapshot=head.snapshot,
                bytes=head.size_bytes,
                duration_s=round(time.monotonic() - started_s, 1),
            )
        except (LimpetError, OSError, TimeoutError) as error:
            self._failed_at_s[ref] = time.monotonic() + NOT_AGAIN_FOR_S
            log.warning("template_not_built", template=template.name, error=str(error))
        finally:
            with contextlib.suppress(LimpetError, OSError):
                await asyncio.shield(self._runner.delete(sandbox.handle))
            self._builds.pop(ref, None)

    async def _installed(self, template: Template, sandbox: SandboxId) -> None:
        """A sandbox that runs the template, installed and up."""
        begun = await self._runner.ensure(sandbox, EnsureOptions(hold=True))
        cache = self._settings.data_dir / "cache" / "templates"
        tar = seed_tar(template, FALLBACK_BRANCH, _AUTHOR, cache)
        await self._daemons.reached(begun).client.restore(from_thread(tar), {})
        await self._runner.ensure(sandbox, EnsureOptions())
        await self._until_ready(sandbox.handle)

    async def _until_ready(self, handle: Handle) -> None:
        """Wait until a sandbox's app answers.

        Raises `TemplateFailedError` when it will not, `TimeoutError` when it does not in time.
        """
        async with asyncio.timeout(READY_WITHIN_S):
            while True:
                found = await self._daemons.reach(handle)
                health = await found.client.health(timeout_s=_PATIENCE_S)
                if health.ready:
                    return
                at_rest = health.configured and not health.running and not health.pending
                if at_rest and health.phase not in _UNDER_WAY:
                    raise TemplateFailedError(f"The template's app does not run: {health.phase}")
                await asyncio.sleep(_LOOK_EVERY_S)

    async def _saved(self, ref: BranchRef, sandbox: SandboxId) -> Head:
        there = await self._repository.lookup(ref)
        found = await self._daemons.reach(sandbox.handle)
        async with found.client.create_snapshot(
            limit_bytes=self._settings.max_workspace_bytes
        ) as answer:
            try:
                saved = await self._repository.save_packed(
                    ref,
                    answer.body,
                    base=None,
                    reason="template",
                    parent=None,
                    fencing=1,
                    expected_generation=max((one.generation for one in there.damaged), default=0),
                )
            except SaveSupersededError as error:  # another control plane was first
                return error.head
            return saved.head

    # -- what differs from sandbox to sandbox ------------------------------------------------------

    async def _ref(self, template: Template) -> BranchRef:
        """Where the template as it is now lies, for this kind of machine and its tools."""
        content = await asyncio.to_thread(content_hash, template)
        runtime = await self._runner.runtime()
        machine = (sys.platform, platform.machine(), *platform.libc_ver())
        identity = "\0".join((content, self._runner.kind, runtime, *machine))
        key = hashlib.sha256(identity.encode()).hexdigest()[:32]
        return BranchRef(TEMPLATES_ORG, AgentId(template.name), Branch(key))

    async def _edits(self, installed: Head, branch: Branch, author: Author) -> Mapping[bytes, Edit]:
        """The branch that is checked out, and who commits."""
        trees = await self._repository.trees(installed)
        assert installed.packed is not None
        config = trees.find(installed.packed.root.node, _CONFIG)
        if config is None or config.hash is None:
            return {}  # it was built where there is no git
        edits: dict[bytes, Edit] = {}
        if not is_synthetic(branch) and branch != FALLBACK_BRANCH:
            edits[_HEAD] = f"ref: refs/heads/{branch}\n".encode()
            for folder in (b"repo/.git/refs/heads/", b"repo/.git/logs/refs/heads/"):
                old = folder + FALLBACK_BRANCH.encode()
                if trees.find(installed.packed.root.node, old) is not None:
                    edits[folder + branch.encode()] = Moved(old)
        async for _, content in self._repository.read_blobs(installed, [config.hash]):
            edits[_CONFIG] = await asyncio.to_thread(_config_of, content, author)
        return edits


def _sandbox(ref: BranchRef) -> SandboxId:
    handle = handle_for(ref.org, ref.agent, ref.branch)
    return SandboxId(ref.org, ref.agent, ref.branch, handle, transient=True)


def _config_of(config: bytes, author: Author) -> bytes:
    """A repository's config with another author. Blocks."""
    with tempfile.TemporaryDirectory(prefix="limpet-config-") as folder:
        path = Path(folder) / "config"
        path.write_bytes(config)
        git(Path(folder), "config", "--file", str(path), "user.name", author.name)
        git(Path(folder), "config", "--file", str(path), "user.email", author.email)
        return path.read_bytes()
