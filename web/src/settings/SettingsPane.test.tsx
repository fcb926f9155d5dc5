// @vitest-environment jsdom
import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import type { Agent } from "../api/types.ts";
import { agent, box } from "../test/agent.ts";
import { type Answers, show } from "../test/app.tsx";

const PATCH = "PATCH /api/local/agents/agt_1";
const kept = { last: 10, hours: 24, days: 30, turns: 200, source: "server" };
const opened = (more: Answers = {}, of: Agent = agent) =>
  show("/local/agents/agt_1?main=settings", {
    "GET /api/system": { body: { isolation: { kind: "bubblewrap", reason: "" }, store: { where: "" } } },
    "GET /api/local/agents/agt_1": { body: of },
    "GET /api/local/sandboxes": { body: { sandboxes: [box] } },
    "GET /api/local/agents/agt_1/mcp-servers": { body: { servers: [] } },
    "GET /api/local/secrets": { body: { secrets: [] } },
    "GET /api/local/retention": { body: kept },
    [PATCH]: { body: of },
    ...more,
  });
const sent = (asked: { what: string; body: unknown }[], what: string) =>
  asked.filter((one) => one.what === what).map(({ body }) => body);
const section = async (name: string) => within(await screen.findByRole("region", { name }));
const keepIt = (inside: Awaited<ReturnType<typeof section>>) =>
  userEvent.click(inside.getByRole("button", { name: "Keep it" }));

test("what an agent is called and told is kept together", async () => {
  const { asked } = await opened();
  const about = await section("About");
  await userEvent.clear(about.getByRole("textbox", { name: "Title" }));
  await userEvent.type(about.getByRole("textbox", { name: "Title" }), "Low tide");
  await userEvent.type(about.getByRole("textbox", { name: "Instructions" }), "Be brief.");
  await userEvent.click(about.getByRole("checkbox", { name: "Pinned to the sidebar" }));
  await keepIt(about);
  await waitFor(() =>
    expect(sent(asked, PATCH)).toEqual([{ title: "Low tide", description: "", instructions: "Be brief.", pinned: false }]),
  );
  expect(await about.findByText("Kept.")).toBeTruthy();
});

test("an empty start command means the one that is found out", async () => {
  const of = { ...agent, metadata: { ...agent.metadata, start_command: "make dev" } };
  const { asked } = await opened({}, of);
  const start = await section("Start command");
  await userEvent.clear(start.getByRole("textbox", { name: "Command" }));
  await keepIt(start);
  await waitFor(() => expect(sent(asked, PATCH)).toEqual([{ start_command: null }]));
});

test("an agent's own program is set and taken away", async () => {
  const { asked } = await opened();
  const own = await section("Agent of your choice");
  await userEvent.type(own.getByRole("textbox", { name: "Command" }), "opencode acp");
  await keepIt(own);
  await waitFor(() => expect(sent(asked, PATCH)).toEqual([{ acp_command: "opencode acp" }]));
  await own.findByText("Kept.");
  await userEvent.clear(own.getByRole("textbox", { name: "Command" }));
  await keepIt(own);
  await waitFor(() => expect(sent(asked, PATCH).at(-1)).toEqual({ acp_command: null }));
});

test("hosts are listed one a line, and a refusal says which is none", async () => {
  const error = { code: "invalid", message: "egress.hosts: 'x y' is no host", hint: "" };
  const { asked } = await opened({ [PATCH]: { status: 400, body: { error } } });
  const network = await section("Network");
  await userEvent.click(network.getByRole("radio", { name: /^Listed/ }));
  await userEvent.type(network.getByRole("textbox", { name: "Hosts, one a line" }), "api.example.com{Enter}*.example.org");
  await keepIt(network);
  await waitFor(() =>
    expect(sent(asked, PATCH)).toEqual([
      { egress: { mode: "listed", hosts: ["api.example.com", "*.example.org"], registries: true } },
    ]),
  );
  expect((await network.findByRole("alert")).textContent).toContain("is no host");
});

test("retention of its own goes back to the default", async () => {
  const { asked } = await opened({
    "GET /api/local/retention": { body: { ...kept, source: "agent" } },
    "POST /api/local/retention": { body: kept },
  });
  const retention = await section("Retention");
  await userEvent.click(await retention.findByRole("button", { name: "Back to the default" }));
  await waitFor(() =>
    expect(sent(asked, "POST /api/local/retention")).toEqual([{ agent_id: "agt_1", reset: true }]),
  );
});

test("deleting asks first, and leads home", async () => {
  const gone = "DELETE /api/local/agents/agt_1";
  const { asked, router } = await opened({ [gone]: { body: { ok: true } } });
  const end = await section("Delete");
  await userEvent.click(end.getByRole("button", { name: "Delete this agent…" }));
  expect(sent(asked, gone)).toEqual([]);
  await userEvent.click(await screen.findByRole("button", { name: "Delete it" }));
  await waitFor(() => expect(router.state.location.pathname).toBe("/"));
});
