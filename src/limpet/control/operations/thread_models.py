"""What the operations on threads take and give."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from limpet.control.operations.models import (
    AgentIdText,
    BranchText,
    Problem,
    Restored,
    SnapshotNameText,
)
from limpet.control.operations.shapes import Input, Output
from limpet.harness.base import HarnessName
from limpet.harness.events import Event

MAX_MESSAGE_LENGTH = 200_000
"""Characters of one message."""
MAX_EVENTS_AT_ONCE = 1000
EXPORT_FORMAT = "limpet.thread.v1"

RunStatus = Literal["queued", "running", "done", "stopped", "capped", "failed", "interrupted"]
ThreadStatus = Literal["idle", "running", "failed"]

ThreadIdText = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$", description="The thread's id: `thrd_…`, or a UUID")
]
RunIdText = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="The run's id")]
MessageIdText = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
ThreadTitle = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$"
    ),
]
ProviderIdText = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
ModelNameText = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x20\x7f]*$"
    ),
]
MessageText = Annotated[
    str, Field(min_length=1, max_length=MAX_MESSAGE_LENGTH, pattern=r"^[^\x00]*[^\s\x00][^\x00]*$")
]


class ModelRef(Input):
    """One model of one of the org's providers."""

    provider_id: ProviderIdText
    name: ModelNameText


class RunUsage(Output):
    """What was taken; `cost_usd` None: of no model involved is the price known."""

    requests: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cost_usd: float | None


class Run(Output):
    """One message's turn. `checkpoint_*` are snapshots of the thread's branch."""

    id: str
    message: str
    prompt: str
    status: RunStatus
    harness: str
    model: ModelRef | None
    usage: RunUsage
    checkpoint_before: str | None
    checkpoint_after: str | None
    undone: bool
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Thread(Output):
    """One conversation with an agent, on one branch.

    `failed`: the last run did not end well. `run` is the one that goes on now, `queued` counts the
    messages that wait for it. `usage` is that of all runs. `may_write`: whoever asks is its owner.
    """

    id: str
    agent_id: str
    branch: str
    title: str
    status: ThreadStatus
    harness: HarnessName
    model: ModelRef | None
    created_by: str
    may_write: bool
    archived: bool
    last_seq: int
    run: Run | None
    queued: int
    usage: RunUsage
    created_at: datetime
    updated_at: datetime


class ThreadCreate(Input):
    """A new thread. With the `id` of one that is there already, and the same agent: that one.

    Without a branch an agent that has a source works on its default one, any other on one of the
    thread's own. Without a title the first message gives it one; without a model the org's default.
    """

    id: ThreadIdText | None = None
    agent_id: AgentIdText
    branch: BranchText | None = None
    title: ThreadTitle | None = None
    model: ModelRef | None = None
    harness: HarnessName | None = Field(default=None, description="Default: decopilot")


class ThreadRef(Input):
    """One thread."""

    thread_id: ThreadIdText


class ThreadFilter(Input):
    """Which threads. `search` looks into titles and messages; `before` goes on after a page."""

    agent_id: AgentIdText | None = None
    search: str | None = Field(default=None, min_length=1, max_length=200)
    archived: bool | None = Field(default=False, description="Null: both")
    mine: bool = False
    limit: int = Field(default=50, ge=1, le=200)
    before: str | None = Field(
        default=None, max_length=128, description="`next` of the page before this one"
    )


class ThreadList(Output):
    """Threads, the last used one first. `next` is None at the end."""

    threads: list[Thread]
    next: str | None


class ThreadUpdate(Input):
    """What shall be different; fields that are left out stay. Model and harness count from the
    next run on."""

    thread_id: ThreadIdText
    title: ThreadTitle | None = None
    model: ModelRef | None = None
    harness: HarnessName | None = None
    archived: bool | None = None


class ThreadSend(Input):
    """Say something. While a run goes on the message waits for its end.

    With the `id` of a message that was sent already nothing is sent twice.
    """

    thread_id: ThreadIdText
    text: MessageText
    id: MessageIdText | None = None


class ThreadSent(Output):
    """`run` is the message's turn; `queued`: another one goes on before it."""

    message: str
    run: str
    queued: bool
    thread: Thread


class ThreadStop(Input):
    """End the run that goes on, at once; messages that wait are taken back unless kept."""

    thread_id: ThreadIdText
    keep_queued: bool = False


class ThreadUndo(Input):
    """Bring the workspace back to what it was before a turn: by default the last one that is not
    undone. The present is saved first, and nothing that is newer goes away."""

    thread_id: ThreadIdText
    run: RunIdText | None = None


class ThreadUndone(Output):
    """The run whose turn was undone, and how the workspace came back."""

    run: str
    restored: Restored
    thread: Thread


class ThreadFork(Input):
    """A new thread, on a new branch, that has this one's turns up to `run` and its files.

    `when` "before": as the files were before that turn, which is left out then.
    """

    thread_id: ThreadIdText
    run: RunIdText
    when: Literal["before", "after"] = "after"
    title: ThreadTitle | None = Field(default=None, description="Default: the title and '(fork)'")
    to_branch: BranchText | None = Field(default=None, description="Default: a made-up name")
    name: SnapshotNameText | None = Field(default=None, description="What to call its snapshot")


class KeptEvent(Output):
    """One event of a thread. `seq` grows by one from event to event while they happen; when a run
    ends, pieces that follow each other become one, whose `seq` is that of its last piece."""

    seq: int
    run: str | None
    at: datetime
    event: Event


class ThreadRead(Input):
    """Some of a thread's events, in order: those after `after`."""

    thread_id: ThreadIdText
    after: int = Field(default=0, ge=0, le=1 << 53)
    limit: int = Field(default=200, ge=1, le=MAX_EVENTS_AT_ONCE)


class ThreadEvents(Output):
    """`more`: there are further ones."""

    events: list[KeptEvent]
    more: bool


class RunList(Output):
    """The turns of a thread, the first one first."""

    runs: list[Run]


class ExportedThread(Output):
    """What is exported of the thread itself."""

    title: str
    agent_title: str
    branch: str
    harness: str
    model: str | None
    created_at: datetime


class ThreadExport(Output):
    """A whole thread as one JSON document: what was said and done, no files and no keys."""

    format: Literal["limpet.thread.v1"]
    thread: ExportedThread
    events: list[KeptEvent]


class ThreadImport(Input):
    """A thread out of an exported document, as one of the agent's: to be read, and gone on with.

    Its checkpoints stay behind: what it speaks of is not in this branch's history.
    """

    agent_id: AgentIdText
    id: ThreadIdText | None = None
    document: dict[str, Any]


class PreviewConsole(Input):
    """What a page in the preview wrote to the console as errors, told by the browser tab that shows
    it; kept in memory for the agent's tools, the last ones only."""

    handle: str = Field(pattern=r"^[a-z0-9-]{1,48}$")
    errors: list[Annotated[str, Field(max_length=4000)]] = Field(max_length=50)
    reset: bool = Field(default=False, description="A page was loaded: forget what came before")


# --- models -----------------------------------------------------------------------------------

ProviderKindName = Literal["anthropic", "openai", "openai-compatible", "google", "bedrock"]
BaseUrl = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, max_length=2048, pattern=r"^https?://[^\s@?#\x00-\x1f]+$"
    ),
]


class ModelProvider(Output):
    """Where models are to be had. The key is never told; `has_api_key` says that there is one."""

    id: str
    kind: ProviderKindName
    name: str
    base_url: str | None
    has_api_key: bool
    models: list[str]
    default_model: str | None
    is_default: bool
    created_at: datetime
    updated_at: datetime


class ModelProviderChoices(Input):
    """What may be said of a provider when it is made and later."""

    name: ThreadTitle | None = None
    base_url: BaseUrl | None = Field(default=None, description="Null: the provider's own")
    models: list[ModelNameText] | None = Field(default=None, max_length=500)
    default_model: ModelNameText | None = None
    is_default: bool | None = Field(
        default=None, description="Threads that name no model take this provider's default one"
    )


class ModelProviderCreate(ModelProviderChoices):
    """A provider and its key, which is sealed and never told again. The first one is the default.

    `openai-compatible` (Ollama, llama.cpp, vLLM and others) needs a `base_url`, and no key where
    the server asks for none. Of `bedrock` the `base_url` is the region's endpoint.
    """

    kind: ProviderKindName
    api_key: Annotated[str, StringConstraints(max_length=8192)] | None = Field(
        default=None, repr=False
    )


class ModelProviderUpdate(ModelProviderChoices):
    """What shall be different; fields that are left out stay. An `api_key` of null takes it away.

    A new `base_url` needs the key anew: a key is sent nowhere but where it was meant for.
    """

    provider_id: ProviderIdText
    api_key: Annotated[str, StringConstraints(max_length=8192)] | None = Field(
        default=None, repr=False
    )


class ModelProviderRef(Input):
    """One provider."""

    provider_id: ProviderIdText


class ModelProviderList(Output):
    """The org's providers, the default one first."""

    providers: list[ModelProvider]


class ModelProviderTested(Output):
    """Whether it answers, and the models that it names; these are kept where none were given."""

    ok: bool
    models: list[str]
    problem: Problem | None


class ModelInfo(Output):
    """A model that threads can take."""

    provider_id: str
    provider_name: str
    kind: ProviderKindName
    name: str
    is_default: bool


class ModelList(Output):
    """The models of all providers, the default one first."""

    models: list[ModelInfo]


class RunCapsOf(Input):
    """Without an agent, those of the org."""

    agent_id: AgentIdText | None = None


class RunCaps(Output):
    """When a run ends by itself; None: never. `source` says it."""

    time_s: float | None
    cost_usd: float | None
    requests: int | None
    source: Literal["server", "org", "agent"]


class RunCapsSet(Input):
    """What is not said stays as it is, null lifts a cap; `reset` goes back to what the org, or the
    server, says."""

    agent_id: AgentIdText | None = None
    time_s: float | None = Field(default=None, gt=0, le=86_400)
    cost_usd: float | None = Field(default=None, gt=0, le=100_000)
    requests: int | None = Field(default=None, ge=1, le=100_000)
    reset: bool = False
