// @vitest-environment jsdom
import { screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import { agent } from "../test/agent.ts";
import { type Answers, show } from "../test/app.tsx";
import { thread } from "../test/thread.ts";

const system = {
  version: "1",
  org: "local",
  user: "owner",
  isolation: { kind: "bubblewrap", reason: "" },
  store: { kind: "local", where: "/data" },
};
const answers: Answers = {
  "GET /api/system": { body: system },
  "GET /api/local/templates": {
    body: {
      templates: [
        { name: "api", title: "Service", description: "" },
        { name: "webapp", title: "Web app", description: "React" },
      ],
    },
  },
  "GET /api/local/agents": { body: { agents: [] } },
  "GET /api/local/sandboxes": { body: { sandboxes: [] } },
};

test("without a session the page says how to sign in", async () => {
  const error = { code: "unauthorized", message: "Sign in", hint: "" };
  await show("/", { "GET /api/system": { status: 401, body: { error } } });
  expect(await screen.findByRole("heading", { name: "Sign in" })).toBeTruthy();
});

test("the web app comes first, and one click makes an agent and leads there", async () => {
  const { asked, router } = await show("/", {
    ...answers,
    "POST /api/local/agents": { body: agent },
    "GET /api/local/agents/agt_1": { body: agent },
  });
  const tile = await screen.findByRole("button", { name: /Web app/ });
  const [first] = screen.getByRole("region", { name: "Begin" }).querySelectorAll("button");
  expect(first).toBe(tile);
  await userEvent.click(tile);
  await waitFor(() => expect(router.state.location.pathname).toBe("/local/agents/agt_1"));
  expect(asked.find(({ what }) => what.startsWith("POST"))?.body).toEqual({ template: "webapp" });
});

test("the sandbox is asked for before its page is there, once, and its page tells how that ended", async () => {
  const error = { code: "template_missing", message: "No such template", hint: "Choose another." };
  let refuse = () => {};
  const refused = new Promise<{ status: number; body: unknown }>((answer) => {
    refuse = () => answer({ status: 404, body: { error } });
  });
  const { asked, router } = await show("/", {
    ...answers,
    "POST /api/local/agents": { body: agent },
    "GET /api/local/agents/agt_1": { body: agent },
    "GET /api/local/vm-events": { body: ": nothing yet\n\n" },
    "POST /api/local/vm/start": () => refused,
  });
  await userEvent.click(await screen.findByRole("button", { name: /Web app/ }));
  await waitFor(() => expect(router.state.location.pathname).toBe("/local/agents/agt_1"));
  expect((await screen.findByRole("button", { name: "Start" })).hasAttribute("disabled")).toBe(true);
  expect(await screen.findByText("starting")).toBeTruthy();
  const looks = () => asked.filter(({ what }) => what === "GET /api/local/sandboxes").length;
  const seen = looks();
  refuse();
  expect(await screen.findByText(/No such template/)).toBeTruthy();
  await waitFor(() => expect(looks()).toBeGreaterThan(seen));
  await screen.findByRole("heading", { name: "The sandbox did not start" });
  const posts = asked.filter(({ what }) => what.startsWith("POST"));
  expect(posts.map(({ what }) => what)).toEqual(["POST /api/local/agents", "POST /api/local/vm/start"]);
  expect(posts[1]?.body).toEqual({
    virtualMcpId: agent.id,
    branch: agent.default_branch,
    withoutSnapshot: false,
  });
});

test("it says when sandboxes are not kept apart", async () => {
  const isolation = { kind: "none", reason: "bwrap is missing." };
  await show("/", { ...answers, "GET /api/system": { body: { ...system, isolation } } });
  const notice = await screen.findByRole("region", { name: "No isolation" });
  expect(notice.textContent).toContain("Bwrap is missing. limpet doctor");
});

test("a repository's address goes with its credentials, and a refusal is shown with its hint", async () => {
  const error = { code: "invalid", message: "Only https", hint: "Use https://." };
  const { asked } = await show("/", {
    ...answers,
    "POST /api/local/agents": { status: 400, body: { error } },
  });
  await userEvent.click(await screen.findByRole("button", { name: /From a Git URL/ }));
  await userEvent.type(screen.getByLabelText("Address"), "https://host/a/b");
  await userEvent.click(screen.getByText("It is private"));
  await userEvent.type(screen.getByLabelText("User name"), "ada");
  await userEvent.type(screen.getByLabelText("Password or access token"), "s3cret");
  await userEvent.click(screen.getByRole("button", { name: "Clone" }));
  expect((await screen.findByRole("alert")).textContent).toBe("Only httpsUse https://.");
  expect(asked.find(({ what }) => what.startsWith("POST"))?.body).toEqual({
    clone_url: "https://host/a/b",
    clone_username: "ada",
    clone_password: "s3cret",
  });
});

const THREADS = "POST /api/local/threads";
const promptBox = () => screen.findByRole<HTMLTextAreaElement>("textbox", { name: "What shall we build?" });
const made: Answers = {
  ...answers,
  "POST /api/local/agents": { body: agent },
  "GET /api/local/agents/agt_1": { body: agent },
};

test("what is written in the box makes a web app and is the first message of its conversation", async () => {
  const { asked, router } = await show("/", {
    ...made,
    [THREADS]: (body) => ({ body: { ...thread, id: (body as { id: string }).id } }),
  });
  await screen.findByRole("button", { name: /Web app/ });
  await userEvent.type(await promptBox(), "A surf school{Shift>}{Enter}{/Shift}with prices{Enter}");
  await waitFor(() => expect(router.state.location.pathname).toBe("/local/agents/agt_1"));
  const [first] = asked.filter(({ what }) => what === "POST /api/local/agents");
  expect(first?.body).toEqual({ template: "webapp" });
  const begun = asked.find(({ what }) => what === THREADS)?.body as { id: string };
  expect(begun).toEqual({ id: begun.id, agent_id: "agt_1", branch: "limpet/calm-cove" });
  const messages = asked.filter(({ what }) => what === `${THREADS}/${begun.id}/messages`);
  expect(messages.map(({ body }) => body)).toMatchObject([{ text: "A surf school\nwith prices" }]);
});

test("a message that no model takes yet stands in the agent's box", async () => {
  const error = { code: "no_model", message: "There is no model yet", hint: "Add one." };
  const { router } = await show(
    "/",
    {
      ...made,
      [THREADS]: { status: 409, body: { error } },
      "GET /api/local/threads": { body: { threads: [], next: null } },
      "GET /api/local/models": { body: { models: [] } },
    },
    { wide: true },
  );
  await screen.findByRole("button", { name: /Web app/ });
  await userEvent.type(await promptBox(), "A surf school{Enter}");
  await waitFor(() => expect(router.state.location.pathname).toBe("/local/agents/agt_1"));
  const box = await screen.findByRole<HTMLTextAreaElement>("textbox", { name: "Message" });
  expect(box.value).toBe("A surf school");
  expect(await screen.findByText("First, a model")).toBeTruthy();
});

test("an agent that begins blank has no source", async () => {
  const { asked } = await show("/", made);
  await userEvent.click(await screen.findByRole("button", { name: /^Blank/ }));
  await waitFor(() =>
    expect(asked.find(({ what }) => what === "POST /api/local/agents")?.body).toEqual({ title: "Blank", pinned: true }),
  );
});
