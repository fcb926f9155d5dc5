// @vitest-environment jsdom
import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import { agent, box } from "../test/agent.ts";
import { type Answers, show } from "../test/app.tsx";
import { thread } from "../test/thread.ts";

const other = { ...agent, id: "agt_2", title: "Rock pool", pinned: false, default_branch: "limpet/dark-bay" };
const answers: Answers = {
  "GET /api/system": { body: { isolation: { kind: "bubblewrap", reason: "" }, store: { where: "" } } },
  "GET /api/local/templates": { body: { templates: [] } },
  "GET /api/local/agents": { body: { agents: [agent, other] } },
  "GET /api/local/agents/agt_1": { body: agent },
  "GET /api/local/agents/agt_2": { body: other },
  "GET /api/local/sandboxes": { body: { sandboxes: [box, { ...box, branch: "trial/one" }] } },
  "GET /api/local/threads": { body: { threads: [thread], next: null } },
};
const open = async () => {
  await userEvent.keyboard("{Control>}k{/Control}");
  return screen.findByRole<HTMLInputElement>("combobox", { name: "Find or do something" });
};

test("the sidebar holds the pinned agents and the others, and how each is", async () => {
  await show("/", answers, { wide: true });
  const pinned = within(await screen.findByRole("region", { name: "Pinned" }));
  expect(pinned.getAllByRole("link").map((link) => link.textContent)).toEqual(["Tide table, running"]);
  const recent = within(screen.getByRole("region", { name: "Recent" }));
  expect(recent.getAllByRole("link").map((link) => link.textContent)).toEqual(["Rock pool, never started"]);
});

test("it stays narrow where it was made so, and its places keep their names", async () => {
  await show("/", answers, { wide: true });
  await userEvent.click(await screen.findByRole("button", { name: "Narrow the sidebar" }));
  expect(screen.queryByRole("region", { name: "Pinned" })).toBeNull();
  expect(screen.getByRole("link", { name: "Admin" })).toBeTruthy();
  expect(localStorage.getItem("limpet-sidebar")).toBe("narrow");
});

test("on a phone it opens over the page, and goes when something is chosen", async () => {
  const { router } = await show("/", answers);
  await userEvent.click(await screen.findByRole("button", { name: "Menu" }));
  const menu = within(await screen.findByRole("dialog", { name: "Menu" }));
  await userEvent.click(await menu.findByRole("link", { name: /Rock pool/ }));
  await waitFor(() => expect(router.state.location.pathname).toBe("/local/agents/agt_2"));
  expect(screen.queryByRole("dialog")).toBeNull();
});

test("the palette leads to an agent by the keyboard alone", async () => {
  const { router } = await show("/", answers);
  await screen.findByRole("heading", { name: "Your agents" });
  const typing = await open();
  expect(document.activeElement).toBe(typing);
  await userEvent.keyboard("rock");
  const [option] = screen.getAllByRole("option");
  expect(option?.textContent).toContain("Rock pool");
  expect(typing.getAttribute("aria-activedescendant")).toBe(option?.id);
  await userEvent.keyboard("{Enter}");
  await waitFor(() => expect(router.state.location.pathname).toBe("/local/agents/agt_2"));
  expect(screen.queryByRole("dialog")).toBeNull();
});

test("on an agent's page it leads to views, branches and conversations; arrows go round", async () => {
  const { router } = await show("/local/agents/agt_1", answers);
  await screen.findByRole("heading", { name: "Tide table" });
  const typing = await open();
  await screen.findByRole("option", { name: /Dark hero/ });
  await screen.findByRole("option", { name: /trial\/one/ });
  const first = typing.getAttribute("aria-activedescendant");
  await userEvent.keyboard("{ArrowUp}");
  expect(typing.getAttribute("aria-activedescendant")).toBe(screen.getAllByRole("option").at(-1)?.id);
  await userEvent.keyboard("{ArrowDown}");
  expect(typing.getAttribute("aria-activedescendant")).toBe(first);
  await userEvent.keyboard("history{Enter}");
  await waitFor(() => expect(router.state.location.search).toEqual({ main: "history" }));
  await open();
  await userEvent.keyboard("trial{Enter}");
  await waitFor(() => expect(router.state.location.search).toEqual({ main: "history", branch: "trial/one" }));
});

test("what is done from it says how it ended", async () => {
  const error = { code: "too_large", message: "The workspace is too large", hint: "" };
  await show("/local/agents/agt_1", {
    ...answers,
    "POST /api/local/agents/agt_1/snapshots": { status: 413, body: { error } },
  });
  await screen.findByRole("heading", { name: "Tide table" });
  await open();
  await userEvent.keyboard("save now{Enter}");
  expect(await screen.findByText("Not saved: The workspace is too large")).toBeTruthy();
});
