// @vitest-environment jsdom
import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import type { McpServer } from "../api/types.ts";
import { agent, box } from "../test/agent.ts";
import { type Answers, show } from "../test/app.tsx";

const SERVERS = "/api/local/agents/agt_1/mcp-servers";
const tracker: McpServer = {
  name: "tracker",
  url: "https://tracker.example.com/mcp",
  header_names: ["Authorization"],
  updated_at: "2026-01-01T12:00:00Z",
  updated_by: "owner",
};
const works = { ok: true, tools: ["find_issue", "close_issue"], problem: null };

async function opened(servers: McpServer[], more: Answers = {}) {
  const shown = await show("/local/agents/agt_1?main=settings", {
    "GET /api/system": { body: {} },
    "GET /api/local/agents/agt_1": { body: agent },
    "GET /api/local/sandboxes": { body: { sandboxes: [box] } },
    "GET /api/local/secrets": { body: { secrets: [] } },
    "GET /api/local/retention": { body: { last: 10, hours: 24, days: 30, turns: 200, source: "server" } },
    [`GET ${SERVERS}`]: () => ({ body: { servers } }),
    [`POST ${SERVERS}/tracker/test`]: { body: works },
    ...more,
  });
  return { ...shown, section: within(await screen.findByRole("region", { name: "MCP servers" })) };
}
const sent = (asked: { what: string; body: unknown }[], what: string) =>
  asked.filter((one) => one.what === what).map(({ body }) => body);

test("one is added with its header, is asked for its tools, and the header's value leaves the page", async () => {
  const servers: McpServer[] = [];
  const { asked, section } = await opened(servers, {
    [`POST ${SERVERS}`]: () => {
      servers.push(tracker);
      return { body: tracker };
    },
  });
  await section.findByText(/^None yet\./);
  await userEvent.click(section.getByRole("button", { name: "Add a server" }));
  const form = within(await screen.findByRole("dialog", { name: "Add an MCP server" }));
  await userEvent.type(form.getByRole("textbox", { name: /^Name/ }), "tracker");
  await userEvent.type(form.getByRole("textbox", { name: "Address" }), tracker.url);
  await userEvent.type(form.getByLabelText("Value"), "Bearer sk-live");
  await userEvent.click(form.getByRole("button", { name: "Another header" }));
  await userEvent.click(form.getByRole("button", { name: "Keep it and try it" }));
  expect(await section.findByText("It answers, with 2 tools.")).toBeTruthy();
  expect(section.getByText("find_issue, close_issue")).toBeTruthy();
  expect(sent(asked, `POST ${SERVERS}`)).toEqual([
    { name: "tracker", url: tracker.url, headers: { Authorization: "Bearer sk-live" } },
  ]);
  expect(screen.queryByRole("dialog")).toBeNull();
  expect(document.body.innerHTML).not.toContain("sk-live");
});

test("what a server answers to a try is said, with what to do", async () => {
  const problem = {
    code: "mcp_server_refuses",
    message: "The MCP server refuses what it is sent",
    hint: "Check the Authorization header.",
  };
  const { section } = await opened([tracker], {
    [`POST ${SERVERS}/tracker/test`]: { body: { ok: false, tools: [], problem } },
  });
  await userEvent.click(await section.findByRole("button", { name: "Try it tracker" }));
  expect((await section.findByRole("status")).textContent).toBe(
    "The MCP server refuses what it is sentCheck the Authorization header.",
  );
});

test("a change keeps the headers where the address stays, and wants them anew for another one", async () => {
  const { asked, section } = await opened([tracker], { [`POST ${SERVERS}`]: { body: tracker } });
  const change = async () => {
    await userEvent.click(await section.findByRole("button", { name: "Change tracker" }));
    return within(await screen.findByRole("dialog", { name: "Change tracker" }));
  };
  let form = await change();
  expect(form.getByText("Authorization: its value stays as it is.")).toBeTruthy();
  await userEvent.click(form.getByRole("button", { name: "Keep it and try it" }));
  await waitFor(() => expect(sent(asked, `POST ${SERVERS}`)).toEqual([{ name: "tracker", url: tracker.url }]));
  await waitFor(() => expect(screen.queryByRole("dialog")).toBeNull());
  form = await change();
  await userEvent.type(form.getByRole("textbox", { name: "Address" }), "/v2");
  expect(form.getByText(/the headers are wanted anew/)).toBeTruthy();
  await userEvent.click(form.getByRole("button", { name: "Keep it and try it" }));
  await waitFor(() =>
    expect(sent(asked, `POST ${SERVERS}`)[1]).toEqual({ name: "tracker", url: `${tracker.url}/v2`, headers: {} }),
  );
});

test("a name that is there already is not written over", async () => {
  const { asked, section } = await opened([tracker]);
  await userEvent.click(await section.findByRole("button", { name: "Add a server" }));
  const form = within(await screen.findByRole("dialog"));
  await userEvent.type(form.getByRole("textbox", { name: /^Name/ }), "tracker");
  await userEvent.type(form.getByRole("textbox", { name: "Address" }), "https://other.example.com/mcp");
  await userEvent.click(form.getByRole("button", { name: "Keep it and try it" }));
  expect((await form.findByRole("alert")).textContent).toMatch(/^There is one of that name/);
  expect(sent(asked, `POST ${SERVERS}`)).toEqual([]);
});

test("a refusal is told in the form, and what was typed stays", async () => {
  const error = { code: "invalid_input", message: "The header Host is set by the connection itself", hint: "" };
  const { section } = await opened([], { [`POST ${SERVERS}`]: { status: 400, body: { error } } });
  await userEvent.click(await section.findByRole("button", { name: "Add a server" }));
  const form = within(await screen.findByRole("dialog"));
  await userEvent.type(form.getByRole("textbox", { name: /^Name/ }), "tracker");
  await userEvent.type(form.getByRole("textbox", { name: "Address" }), tracker.url);
  await userEvent.click(form.getByRole("button", { name: "Keep it and try it" }));
  expect((await form.findByRole("alert")).textContent).toContain("set by the connection itself");
  expect(form.getByRole<HTMLInputElement>("textbox", { name: "Address" }).value).toBe(tracker.url);
});

test("one is removed after a question", async () => {
  const { asked, section } = await opened([tracker], { [`DELETE ${SERVERS}/tracker`]: { body: { ok: true } } });
  await userEvent.click(await section.findByRole("button", { name: "Remove tracker" }));
  expect(sent(asked, `DELETE ${SERVERS}/tracker`)).toEqual([]);
  await userEvent.click(await screen.findByRole("button", { name: "Remove it" }));
  await waitFor(() => expect(sent(asked, `DELETE ${SERVERS}/tracker`)).toHaveLength(1));
});
