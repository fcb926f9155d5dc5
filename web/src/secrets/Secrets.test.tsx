// @vitest-environment jsdom
import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import type { Secret } from "../api/types.ts";
import { agent, box } from "../test/agent.ts";
import { type Answers, show } from "../test/app.tsx";

const SECRETS = "/api/local/secrets";
const own: Secret = { name: "API_KEY", agent_id: "agt_1", updated_at: "2026-01-01T12:00:00Z", updated_by: "owner" };
const shared: Secret = { ...own, name: "NPM_TOKEN", agent_id: null };
const changed = { secret: own, given_to: ["calm-cove-1"], not_reached: [], note: "" };

async function opened(secrets: Secret[], more: Answers = {}) {
  return show("/local/agents/agt_1?main=settings", {
    "GET /api/system": { body: {} },
    "GET /api/local/agents/agt_1": { body: agent },
    "GET /api/local/sandboxes": { body: { sandboxes: [box] } },
    "GET /api/local/agents/agt_1/mcp-servers": { body: { servers: [] } },
    "GET /api/local/retention": { body: { last: 10, hours: 24, days: 30, turns: 200, source: "server" } },
    [`GET ${SECRETS}`]: () => ({ body: { secrets } }),
    ...more,
  });
}

const sent = (asked: { what: string; body: unknown }[], what: string) =>
  asked.filter((one) => one.what === what).map(({ body }) => body);

test("names are listed, and those of the org cannot be deleted here", async () => {
  await opened([own, shared]);
  const list = within(await screen.findByRole("list", { name: "Secrets" }));
  const [first, second] = list.getAllByRole("listitem");
  expect(first?.textContent).toContain("API_KEY");
  expect(second?.textContent).toContain("for all agents");
  expect(list.getAllByRole("button")).toHaveLength(1);
});

test("a value of several lines is set whole, and leaves the page", async () => {
  const secrets: Secret[] = [];
  const { asked } = await opened(secrets, {
    [`POST ${SECRETS}`]: () => {
      secrets.push(own);
      return { body: changed };
    },
  });
  await screen.findByText("None yet.");
  await userEvent.type(screen.getByRole("textbox", { name: "Name" }), " API_KEY ");
  const value = screen.getByRole<HTMLTextAreaElement>("textbox", { name: "Value" });
  await userEvent.click(value);
  await userEvent.paste("-----BEGIN\nsk-live");
  await userEvent.click(screen.getByRole("button", { name: "Set it" }));
  await screen.findByText(/API_KEY is set. What runs already has it once it is started again/);
  expect(sent(asked, `POST ${SECRETS}`)).toEqual([
    { name: "API_KEY", value: "-----BEGIN\nsk-live", agent_id: "agt_1" },
  ]);
  await waitFor(() => expect(value.value).toBe(""));
  await screen.findByRole("list", { name: "Secrets" });
  expect(document.body.textContent).not.toContain("sk-live");
});

test("a refusal is told, and what was typed stays", async () => {
  const refusal = { code: "reserved_name", message: "PATH cannot be set", hint: "Choose another name." };
  await opened([], { [`POST ${SECRETS}`]: { status: 400, body: { error: refusal } } });
  const name = await screen.findByRole<HTMLInputElement>("textbox", { name: "Name" });
  await userEvent.type(name, "PATH");
  await userEvent.type(screen.getByRole("textbox", { name: "Value" }), "x");
  await userEvent.click(screen.getByRole("button", { name: "Set it" }));
  expect((await screen.findByRole("alert")).textContent).toContain("Choose another name.");
  expect(name.value).toBe("PATH");
});

test("one is deleted after a question", async () => {
  const gone = `DELETE ${SECRETS}/API_KEY`;
  const { asked } = await opened([own], { [gone]: { body: { ...changed, secret: null } } });
  await userEvent.click(await screen.findByRole("button", { name: "Delete API_KEY" }));
  expect(sent(asked, gone)).toEqual([]);
  await userEvent.click(await screen.findByRole("button", { name: "Delete it" }));
  await waitFor(() => expect(sent(asked, gone)).toHaveLength(1));
});
