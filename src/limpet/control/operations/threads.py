"""Operations on threads; what they mean is `limpet.control.threads`' business."""

from limpet.control.operations.models import Ok
from limpet.control.operations.registry import Call, Operation
from limpet.control.operations.thread_models import (
    PreviewConsole,
    RunList,
    Thread,
    ThreadCreate,
    ThreadEvents,
    ThreadExport,
    ThreadFilter,
    ThreadFork,
    ThreadImport,
    ThreadList,
    ThreadRead,
    ThreadRef,
    ThreadSend,
    ThreadSent,
    ThreadStop,
    ThreadUndo,
    ThreadUndone,
    ThreadUpdate,
)
from limpet.control.threads import transfer, turning
from limpet.control.threads.keys import ThreadKey
from limpet.ids import Handle

_ONE = "/threads/{thread_id}"


async def create(call: Call, wanted: ThreadCreate) -> Thread:
    """A new thread."""
    return await call.services.threads.create(call.identity, wanted)


async def search(call: Call, wanted: ThreadFilter) -> ThreadList:
    """The org's threads."""
    return await call.services.threads.search(call.identity, wanted)


async def get(call: Call, wanted: ThreadRef) -> Thread:
    """One thread."""
    return await call.services.threads.get(call.identity, wanted.thread_id)


async def update(call: Call, wanted: ThreadUpdate) -> Thread:
    """Change a thread."""
    return await call.services.threads.update(call.identity, wanted)


async def delete(call: Call, wanted: ThreadRef) -> Ok:
    """Forget a thread."""
    await call.services.threads.delete(call.identity, wanted.thread_id)
    return Ok()


async def send(call: Call, wanted: ThreadSend) -> ThreadSent:
    """Say something."""
    return await call.services.threads.send(call.identity, wanted)


async def stop(call: Call, wanted: ThreadStop) -> Thread:
    """End what goes on."""
    return await call.services.threads.stop(call.identity, wanted)


async def read(call: Call, wanted: ThreadRead) -> ThreadEvents:
    """A page of events."""
    threads = call.services.threads
    await threads.get(call.identity, wanted.thread_id)
    key = ThreadKey(call.identity.org, wanted.thread_id)
    events, more = await threads.parts.journal.read(key, after=wanted.after, limit=wanted.limit)
    return ThreadEvents(events=events, more=more)


async def runs(call: Call, wanted: ThreadRef) -> RunList:
    """The turns."""
    return RunList(runs=await call.services.threads.runs(call.identity.org, wanted.thread_id))


async def undo(call: Call, wanted: ThreadUndo) -> ThreadUndone:
    """Undo a turn."""
    return await turning.undo(call.services.threads, call.identity, wanted)


async def fork(call: Call, wanted: ThreadFork) -> Thread:
    """Go on from a turn elsewhere."""
    return await turning.fork(call.services.threads, call.identity, wanted)


async def export(call: Call, wanted: ThreadRef) -> ThreadExport:
    """The whole thread."""
    return await transfer.export(call.services.threads, call.identity, wanted.thread_id)


async def import_(call: Call, wanted: ThreadImport) -> Thread:
    """A thread from a document."""
    return await transfer.import_(call.services.threads, call.identity, wanted)


async def hear(call: Call, wanted: PreviewConsole) -> Ok:
    """Keep what a tab heard, of a sandbox of the org's."""
    services = call.services
    row = await services.sandboxes.parts.rows.by_handle(call.identity.org, Handle(wanted.handle))
    services.threads.parts.consoles.hear(row.handle, wanted.errors, reset=wanted.reset)
    return Ok()


OPERATIONS = (
    Operation(
        "THREAD_CREATE",
        "POST",
        "/threads",
        ThreadCreate,
        Thread,
        create,
        "Begin a thread",
        keyed=True,
    ),
    Operation(
        "THREAD_LIST",
        "GET",
        "/threads",
        ThreadFilter,
        ThreadList,
        search,
        "List and search threads",
    ),
    Operation(
        "THREAD_IMPORT",
        "POST",
        "/threads/import",
        ThreadImport,
        Thread,
        import_,
        "Take in an exported thread",
        keyed=True,
    ),
    Operation("THREAD_GET", "GET", _ONE, ThreadRef, Thread, get, "Look at a thread"),
    Operation(
        "THREAD_UPDATE",
        "PATCH",
        _ONE,
        ThreadUpdate,
        Thread,
        update,
        "Rename a thread, choose its model, archive it",
    ),
    Operation(
        "THREAD_DELETE",
        "DELETE",
        _ONE,
        ThreadRef,
        Ok,
        delete,
        "Delete a thread; its branch and snapshots stay",
        destructive=True,
    ),
    Operation(
        "THREAD_SEND",
        "POST",
        f"{_ONE}/messages",
        ThreadSend,
        ThreadSent,
        send,
        "Send a message to the thread's agent",
        keyed=True,
    ),
    Operation(
        "THREAD_STOP",
        "POST",
        f"{_ONE}/stop",
        ThreadStop,
        Thread,
        stop,
        "Stop the run that goes on in a thread",
    ),
    Operation(
        "THREAD_READ",
        "GET",
        f"{_ONE}/log",
        ThreadRead,
        ThreadEvents,
        read,
        "Read what happened in a thread",
    ),
    Operation(
        "THREAD_RUNS", "GET", f"{_ONE}/runs", ThreadRef, RunList, runs, "List a thread's turns"
    ),
    Operation(
        "THREAD_UNDO",
        "POST",
        f"{_ONE}/undo",
        ThreadUndo,
        ThreadUndone,
        undo,
        "Bring the workspace back to before a turn",
    ),
    Operation(
        "THREAD_FORK",
        "POST",
        f"{_ONE}/fork",
        ThreadFork,
        Thread,
        fork,
        "Begin another thread, on another branch, from a turn",
        keyed=True,
    ),
    Operation(
        "THREAD_EXPORT",
        "GET",
        f"{_ONE}/export",
        ThreadRef,
        ThreadExport,
        export,
        "Export a thread as JSON",
    ),
    Operation(
        "PREVIEW_CONSOLE",
        "POST",
        "/sandboxes/{handle}/console",
        PreviewConsole,
        Ok,
        hear,
        "Tell what the preview wrote to the browser's console as errors",
    ),
)
