// @vitest-environment jsdom
import { cleanup, screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import type { Thread, ThreadEvent } from "../api/threadTypes.ts";
import { agent, box } from "../test/agent.ts";
import { type Answers, show } from "../test/app.tsx";
import { happened, run, sse, thread } from "../test/thread.ts";

const PAGE = "/local/agents/agt_1?main=chat";
const THREADS = "/api/local/threads";
const EVENTS = `GET ${THREADS}/${thread.id}/events`;
const models = [
  { provider_id: "p1", provider_name: "Anthropic", kind: "anthropic", name: "large", is_default: true },
  { provider_id: "p1", provider_name: "Anthropic", kind: "anthropic", name: "small", is_default: false },
];
const answers = (threads: Thread[], more: Answers = {}): Answers => ({
  "GET /api/system": { body: {} },
  "GET /api/local/agents/agt_1": { body: agent },
  "GET /api/local/sandboxes": { body: { sandboxes: [box] } },
  "GET /api/local/models": { body: { models } },
  [`GET ${THREADS}`]: { body: { threads, next: null } },
  [`GET ${THREADS}/${thread.id}/runs`]: { body: { runs: [run] } },
  ...more,
});
const story = (...events: ThreadEvent[]) =>
  sse("thread", thread) + happened(1, ...events) + sse("caught_up", { seq: events.length });
const said: ThreadEvent = { kind: "user_message", id: "m1", text: "Make it dark", author: "ada", queued: false };
const begun: ThreadEvent = { kind: "run_started", run: "r1", message: "m1", harness: "decopilot", model: "large" };
const before: ThreadEvent = { kind: "checkpoint", run: "r1", when: "before", snapshot: "s1", commit: null };
const answer: ThreadEvent = { kind: "text", part: "p1", delta: "It is **dark** now." };
const ended = (how: "done" | "failed" | "capped", error: string | null = null): ThreadEvent => ({
  kind: "run_finished",
  run: "r1",
  how,
  error,
});
const messageBox = () => screen.findByRole<HTMLTextAreaElement>("textbox", { name: "Message" });
const posts = (asked: { what: string; body: unknown }[], path: string) =>
  asked.filter(({ what }) => what === `POST ${path}`).map(({ body }) => body);

test("the first message makes the conversation, on the branch that is shown, and says it", async () => {
  let made: Thread = thread;
  const { asked, router } = await show(
    PAGE,
    answers([], {
      [`POST ${THREADS}`]: (body) => {
        made = { ...thread, id: (body as { id: string }).id };
        return { body: made };
      },
    }),
  );
  await userEvent.click(await screen.findByRole("button", { name: /^Make the hero section dark/ }));
  await userEvent.clear(await messageBox());
  await userEvent.type(await messageBox(), "Make it dark{Shift>}{Enter}{/Shift}please{Enter}");
  await waitFor(() => expect(posts(asked, THREADS)).toHaveLength(1));
  expect(made.id).toMatch(/^[0-9a-f]{32}$/);
  expect(posts(asked, THREADS)[0]).toEqual({
    id: made.id,
    agent_id: "agt_1",
    branch: "limpet/calm-cove",
    harness: "decopilot",
  });
  await waitFor(() => expect(posts(asked, `${THREADS}/${made.id}/messages`)).toHaveLength(1));
  expect(posts(asked, `${THREADS}/${made.id}/messages`)[0]).toMatchObject({ text: "Make it dark\nplease" });
  // Nothing answers to that here, so it stands in the box again, with why.
  await waitFor(async () => expect((await messageBox()).value).toBe("Make it dark\nplease"));
  expect(screen.getByRole("alert").textContent).toContain("nothing at POST");
  expect(router.state.location.search).toEqual({ main: "chat" });
});

test("an answer streams, a tool runs, and a file's change is shown as a diff", async () => {
  const { tell } = await show(PAGE, answers([thread], { [EVENTS]: { body: story(said, begun, before) } }));
  expect(await screen.findByText("Make it dark")).toBeTruthy();
  expect(screen.getByText("Working…")).toBeTruthy();
  await tell(EVENTS, happened(4, { kind: "text", part: "p1", delta: "I look" }));
  await tell(EVENTS, happened(5, { kind: "text", part: "p1", delta: " at it." }));
  expect(await screen.findByText("I look at it.")).toBeTruthy();
  await tell(
    EVENTS,
    happened(
      6,
      { kind: "tool_started", call: "c1", name: "bash", input: {}, title: "npm test" },
      { kind: "tool_output", call: "c1", delta: "1 passed" },
    ),
  );
  expect(await screen.findByText("1 passed")).toBeTruthy();
  const command = screen.getByRole("button", { name: /npm test/ });
  expect(command.getAttribute("aria-expanded")).toBe("true");
  const diff = "--- a/x.css\n+++ b/x.css\n@@ -1 +1 @@\n-white\n+black\n";
  await tell(
    EVENTS,
    happened(
      8,
      { kind: "tool_finished", call: "c1", ok: true, output: "1 passed", diff: null },
      { kind: "tool_started", call: "c2", name: "edit", input: {}, title: "Edit x.css" },
      { kind: "tool_finished", call: "c2", ok: true, output: "ok", diff },
    ),
  );
  const change = await screen.findByRole("figure", { name: "Changes: Edit x.css" });
  expect(change.textContent).toContain("white");
  expect(command.getAttribute("aria-expanded")).toBe("false");
  await userEvent.click(command);
  expect(screen.getByText("1 passed")).toBeTruthy();
});

test("what was heard is not asked for again when the view comes back", async () => {
  const { asked, streams, router } = await show(PAGE, answers([thread], { [EVENTS]: { body: story(said, begun, answer, ended("done")) } }));
  expect(await screen.findByText("dark")).toBeTruthy();
  await router.navigate({ to: "/$org/agents/$agentId", params: { org: "local", agentId: "agt_1" }, search: { main: "logs" } });
  await waitFor(() => expect(screen.queryByText("dark")).toBeNull());
  await router.navigate({ to: "/$org/agents/$agentId", params: { org: "local", agentId: "agt_1" }, search: { main: "chat" } });
  expect(await screen.findByText("dark")).toBeTruthy();
  await waitFor(() => expect(streams.filter(({ what }) => what === EVENTS)).toHaveLength(2));
  expect(asked.filter(({ what }) => what === EVENTS).map(({ query }) => query)).toEqual(["", "?after=4"]);
});

test("a message sent while a run goes on waits, and stopping asks what becomes of it", async () => {
  const busy: Thread = { ...thread, status: "running", queued: 1 };
  const { asked, tell } = await show(
    PAGE,
    answers([busy], {
      [EVENTS]: { body: story(said, begun, before) + sse("thread", busy) },
      [`POST ${THREADS}/${thread.id}/stop`]: { body: busy },
    }),
  );
  await tell(EVENTS, happened(4, { ...said, id: "m2", text: "And round", queued: true }));
  expect(await screen.findByText("Waits for its turn")).toBeTruthy();
  await userEvent.click(screen.getByRole("button", { name: "Stop this turn" }));
  await userEvent.click(await screen.findByRole("menuitem", { name: "Stop this, go on with what waits" }));
  await waitFor(() =>
    expect(posts(asked, `${THREADS}/${thread.id}/stop`)).toEqual([{ keep_queued: true }]),
  );
});

test("a turn is undone after a question, and says so", async () => {
  const undo = `${THREADS}/${thread.id}/undo`;
  let undone = false;
  const { asked } = await show(
    PAGE,
    answers([thread], {
      [EVENTS]: { body: story(said, begun, before, answer, ended("done")) },
      [`GET ${THREADS}/${thread.id}/runs`]: () => ({ body: { runs: [{ ...run, undone }] } }),
      [`POST ${undo}`]: () => {
        undone = true;
        return { body: { run: "r1", restored: {}, thread } };
      },
    }),
  );
  await userEvent.click(await screen.findByRole("button", { name: "This turn" }));
  await userEvent.click(await screen.findByRole("menuitem", { name: "Undo this turn…" }));
  await userEvent.click(await screen.findByRole("button", { name: "Undo it" }));
  await waitFor(() => expect(posts(asked, undo)).toEqual([{ run: "r1" }]));
  expect(await screen.findByText("Undone")).toBeTruthy();
});

test("a fork is another conversation on another branch, and the way there is shown", async () => {
  const fork = `${THREADS}/${thread.id}/fork`;
  const made = { ...thread, id: "thrd_22222222", branch: "limpet/far-cove", title: "Round" };
  const { asked } = await show(
    PAGE,
    answers([thread], {
      [EVENTS]: { body: story(said, begun, before, answer, ended("done")) },
      [`POST ${fork}`]: { body: made },
    }),
  );
  await userEvent.click(await screen.findByRole("button", { name: "This turn" }));
  await userEvent.click(await screen.findByRole("menuitem", { name: "Fork from before it…" }));
  await userEvent.type(await screen.findByLabelText("Title"), "Round");
  await userEvent.click(screen.getByRole("button", { name: "Fork" }));
  const way = await screen.findByRole<HTMLAnchorElement>("link", { name: "Open it" });
  expect(way.getAttribute("href")).toContain("branch=limpet%2Ffar-cove&thread=thrd_22222222");
  expect(posts(asked, fork)).toEqual([{ run: "r1", when: "before", title: "Round" }]);
});

test.each([
  ["failed", "It could not go on", "Try again", "Make it dark"],
  ["capped", "It reached its limit", "Go on", "Go on."],
] as const)("a run that %s says why, and what can be done", async (how, title, action, text) => {
  const send = `${THREADS}/${thread.id}/messages`;
  const { asked } = await show(
    PAGE,
    answers([thread], {
      [EVENTS]: { body: story(said, begun, before, ended(how, "The key was refused. Check it.")) },
      [`POST ${send}`]: { body: { message: "m2", run: "r2", queued: false, thread } },
    }),
  );
  const notice = await screen.findByRole("region", { name: title });
  expect(notice.textContent).toContain("The key was refused. Check it.");
  await userEvent.click(within(notice).getByRole("button", { name: action }));
  await waitFor(() => expect(posts(asked, send)).toMatchObject([{ text }]));
});

test("without a model the way to a key is shown; a key that is refused can be mended", async () => {
  const provider = { id: "p1", kind: "anthropic", name: "Anthropic", models: ["large"], default_model: null };
  const problem = { code: "provider_refuses", message: "The provider refuses the key", hint: "Check the API key." };
  let tries = 0;
  const { asked } = await show(
    PAGE,
    answers([], {
      "GET /api/local/models": () => ({ body: { models: tries > 1 ? models : [] } }),
      "GET /api/local/model-providers": () => ({ body: { providers: tries > 0 ? [provider] : [] } }),
      "POST /api/local/model-providers": { body: provider },
      "PATCH /api/local/model-providers/p1": { body: provider },
      "POST /api/local/model-providers/p1/test": () => {
        tries += 1;
        return { body: tries > 1 ? { ok: true, models: ["large"], problem: null } : { ok: false, models: [], problem } };
      },
    }),
  );
  await userEvent.click(await screen.findByRole("button", { name: "Add a model key" }));
  await userEvent.type(await screen.findByLabelText(/^API key/), "wrong");
  await userEvent.click(screen.getByRole("button", { name: "Try and keep it" }));
  expect((await screen.findByRole("alert")).textContent).toBe("The provider refuses the keyCheck the API key.");
  await userEvent.clear(screen.getByLabelText(/^API key/));
  await userEvent.type(screen.getByLabelText(/^API key/), "right");
  await userEvent.click(screen.getByRole("button", { name: "Try and keep it" }));
  await userEvent.click(await screen.findByRole("button", { name: "Done" }));
  expect(await screen.findByRole("button", { name: "Model large; choose another" })).toBeTruthy();
  expect(posts(asked, "/api/local/model-providers")).toEqual([{ kind: "anthropic", api_key: "wrong" }]);
  expect(asked.filter(({ what }) => what.startsWith("PATCH")).map(({ body }) => body)).toEqual([
    { api_key: "right" },
    { default_model: "large", is_default: true },
  ]);
});

test("conversations are searched, opened and deleted", async () => {
  const other = { ...thread, id: "thrd_22222222", title: "Round corners", status: "failed" as const };
  const { asked, router } = await show(
    PAGE,
    answers([thread, other], {
      [EVENTS]: { body: story() },
      [`DELETE ${THREADS}/${other.id}`]: { body: { ok: true } },
    }),
  );
  await userEvent.click(await screen.findByRole("button", { name: "Dark hero; all conversations" }));
  await userEvent.type(await screen.findByRole("searchbox"), "round");
  await waitFor(() => expect(asked.some(({ query }) => query.includes("search=round"))).toBe(true));
  await userEvent.click(screen.getByRole("button", { name: "More on Round corners" }));
  await userEvent.click(await screen.findByRole("menuitem", { name: "Delete…" }));
  await userEvent.click(await screen.findByRole("button", { name: "Delete it" }));
  await waitFor(() => expect(asked.map(({ what }) => what)).toContain(`DELETE ${THREADS}/${other.id}`));
  await userEvent.click(await screen.findByRole("button", { name: /^Dark hero/ }));
  expect(await screen.findByRole("heading", { name: "Say what you want to see" })).toBeTruthy();
  expect(router.state.location.search).toMatchObject({ thread: thread.id });
});

test("a model is chosen for this conversation, by the keyboard alone", async () => {
  const { asked } = await show(
    PAGE,
    answers([thread], {
      [EVENTS]: { body: story() },
      [`PATCH ${THREADS}/${thread.id}`]: { body: thread },
    }),
  );
  (await screen.findByRole("button", { name: "Model large; choose another" })).focus();
  await userEvent.keyboard("{Enter}");
  await userEvent.click(await screen.findByRole("menuitemradio", { name: "small" }));
  await waitFor(() =>
    expect(asked.find(({ what }) => what.startsWith("PATCH"))?.body).toEqual({
      model: { provider_id: "p1", name: "small" },
    }),
  );
});

test("somebody else's conversation can be read, and is not written to", async () => {
  const theirs = { ...thread, may_write: false };
  await show(PAGE, answers([theirs], { [EVENTS]: { body: sse("thread", theirs) + sse("caught_up", { seq: 0 }) } }));
  expect(await screen.findByText(/Only ada writes here/)).toBeTruthy();
  expect(screen.queryByRole("textbox", { name: "Message" })).toBeNull();
});

test("a conversation that is deleted meanwhile says so, and another can begin", async () => {
  const { tell, router } = await show(PAGE, answers([thread], { [EVENTS]: { body: story(said, begun, answer) } }));
  expect(await screen.findByText("dark")).toBeTruthy();
  await tell(EVENTS, sse("gone", {}));
  expect(await screen.findByRole("heading", { name: "This conversation was deleted" })).toBeTruthy();
  await userEvent.click(screen.getByRole("button", { name: "Begin a new one" }));
  expect(await messageBox()).toBeTruthy();
  expect(router.state.location.search).toMatchObject({ thread: "new" });
});

test("ArrowUp brings back what was said last, Escape leaves the box, a draft is kept", async () => {
  const { router } = await show(PAGE, answers([thread], { [EVENTS]: { body: story(said, begun, answer, ended("done")) } }));
  expect(await screen.findByText("dark")).toBeTruthy();
  const area = await messageBox();
  await userEvent.type(area, "{ArrowUp}");
  expect(area.value).toBe("Make it dark");
  await userEvent.type(area, "er{Escape}");
  expect(document.activeElement?.getAttribute("aria-label")).toBe("What was said");
  await router.navigate({ to: "/$org/agents/$agentId", params: { org: "local", agentId: "agt_1" }, search: { main: "logs" } });
  await router.navigate({ to: "/$org/agents/$agentId", params: { org: "local", agentId: "agt_1" }, search: { main: "chat" } });
  expect((await messageBox()).value).toBe("Make it darker");
});

test("where there is room the chat stands beside the preview, as wide as it was made", async () => {
  const all = answers([thread], { [EVENTS]: { body: story(said, begun, answer) } });
  const { streams } = await show(PAGE, all, { wide: true });
  expect(await screen.findByText("dark")).toBeTruthy();
  expect(screen.queryByRole("tab", { name: "Chat" })).toBeNull();
  expect(screen.getByRole("tab", { name: "Preview" }).getAttribute("aria-selected")).toBe("true");
  expect(streams.filter(({ what }) => what === EVENTS)).toHaveLength(1);
  const line = screen.getByRole("separator", { name: "Width of the chat" });
  const width = Number(line.getAttribute("aria-valuenow"));
  line.focus();
  await userEvent.keyboard("{ArrowLeft}{ArrowLeft}{ArrowRight}");
  expect(Number(line.getAttribute("aria-valuenow"))).toBe(width + 24);
  cleanup();
  await show(PAGE, all, { wide: true });
  const again = await screen.findByRole("separator", { name: "Width of the chat" });
  expect(Number(again.getAttribute("aria-valuenow"))).toBe(width + 24);
});

test("a key of a model that is missing is asked for when the server misses it", async () => {
  const error = { code: "no_model", message: "No model was chosen", hint: "Add a provider." };
  await show(
    PAGE,
    answers([thread], {
      [EVENTS]: { body: story() },
      [`POST ${THREADS}/${thread.id}/messages`]: { status: 409, body: { error } },
      "GET /api/local/model-providers": { body: { providers: [] } },
    }),
  );
  await userEvent.type(await messageBox(), "Hello{Enter}");
  expect((await screen.findByRole("alert")).textContent).toBe("No model was chosenAdd a provider.");
  expect((await messageBox()).value).toBe("Hello");
  await userEvent.click(screen.getByRole("button", { name: "Add a model key" }));
  expect(await screen.findByRole("dialog", { name: "Add a model key" })).toBeTruthy();
});

const two = { "GET /api/system": { body: { harnesses: ["decopilot", "acp"] } } };
const harnessButton = () => screen.findByRole("button", { name: /^Driven by/ });

test("where a server has one harness alone, none is to be chosen", async () => {
  await show(PAGE, answers([thread], { "GET /api/system": { body: { harnesses: ["decopilot"] } } }));
  expect(await screen.findByRole("button", { name: /^Model large/ })).toBeTruthy();
  expect(screen.queryByRole("button", { name: /^Driven by/ })).toBeNull();
});

test("an agent of one's own is chosen once it has a command, and what to set is said until then", async () => {
  const { router } = await show(PAGE, answers([thread], two));
  await userEvent.click(await harnessButton());
  const missing = await screen.findByRole("menuitemradio", { name: /^Agent of your choice/ });
  expect(missing.getAttribute("aria-disabled")).toBe("true");
  expect(missing.textContent).toContain("No command is set");
  await userEvent.click(screen.getByRole("menuitem", { name: "Set its command in the settings" }));
  await waitFor(() => expect(router.state.location.search).toMatchObject({ main: "settings" }));
  expect(router.state.location.hash).toBe("own-program");
});

test("another harness counts for a conversation that is there, and for one that begins", async () => {
  const mine = { ...agent, metadata: { ...agent.metadata, acp_command: "opencode acp" } };
  const patch = `PATCH ${THREADS}/${thread.id}`;
  const { asked } = await show(
    PAGE,
    answers([thread], {
      ...two,
      "GET /api/local/agents/agt_1": { body: mine },
      [patch]: { body: { ...thread, harness: "acp" } },
      [`POST ${THREADS}`]: (body) => ({ body: { ...thread, id: (body as { id: string }).id } }),
    }),
  );
  const choose = async () => {
    await userEvent.click(await harnessButton());
    await userEvent.click(await screen.findByRole("menuitemradio", { name: /opencode acp/ }));
  };
  await choose();
  await waitFor(() =>
    expect(asked.filter(({ what }) => what === patch).map(({ body }) => body)).toEqual([{ harness: "acp" }]),
  );
  await userEvent.click(screen.getByRole("button", { name: "New conversation" }));
  await choose();
  await userEvent.type(await messageBox(), "Hello{Enter}");
  await waitFor(() => expect(posts(asked, THREADS)).toMatchObject([{ harness: "acp" }]));
});

test("an agent of one's own needs no model of ours", async () => {
  const mine = { ...agent, metadata: { ...agent.metadata, acp_command: "opencode acp" } };
  await show(
    PAGE,
    answers([], {
      ...two,
      "GET /api/local/agents/agt_1": { body: mine },
      "GET /api/local/models": { body: { models: [] } },
    }),
  );
  expect(await screen.findByText("First, a model")).toBeTruthy();
  await userEvent.click(await harnessButton());
  await userEvent.click(await screen.findByRole("menuitemradio", { name: /opencode acp/ }));
  await waitFor(() => expect(screen.queryByText("First, a model")).toBeNull());
});
