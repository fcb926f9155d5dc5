// @vitest-environment jsdom
import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import { agent, box, snapshot } from "../test/agent.ts";
import { type Answers, show } from "../test/app.tsx";
import type { Snapshot } from "../api/types.ts";

const PAGE = "/local/agents/agt_1?main=history";
const ALL = "/api/local/agents/agt_1/snapshots";
const head = { ...snapshot, id: "20260102t120000z-bbbbbbbbbbbb", name: "good", is_head: true };
const answers = (snapshots: Snapshot[]): Answers => ({
  "GET /api/system": { body: {} },
  "GET /api/local/agents/agt_1": { body: agent },
  "GET /api/local/sandboxes": { body: { sandboxes: [box] } },
  [`GET ${ALL}`]: { body: { snapshots } },
});
const rows = async () =>
  within(await screen.findByRole("list", { name: "Snapshots" })).getAllByRole("listitem");
const choose = async (row: HTMLElement, item: string) => {
  await userEvent.click(within(row).getByRole("button", { name: /^More about/ }));
  await userEvent.click(await screen.findByRole("menuitem", { name: item }));
};
const sent = (asked: { what: string; body: unknown }[], what: string) =>
  asked.filter((one) => one.what === what).map(({ body }) => body);

test("a name is given where the snapshot stands, by the keyboard alone, and taken away", async () => {
  const patch = `PATCH ${ALL}/${head.id}`;
  const { asked } = await show(PAGE, { ...answers([head, snapshot]), [patch]: { body: head } });
  const [row] = await rows();
  await choose(row as HTMLElement, "Rename");
  const field = await screen.findByRole<HTMLInputElement>("textbox", { name: "Its name" });
  expect([document.activeElement, field.value]).toEqual([field, "good"]);
  await userEvent.keyboard(" before the move {Enter}");
  await waitFor(() => expect(sent(asked, patch)).toEqual([{ branch: "limpet/calm-cove", name: "before the move" }]));
  await waitFor(() => expect(field.isConnected).toBe(false));
  await choose(row as HTMLElement, "Rename");
  await userEvent.clear(await screen.findByRole("textbox", { name: "Its name" }));
  await userEvent.click(screen.getByRole("button", { name: "Take its name away" }));
  await waitFor(() => expect(sent(asked, patch)[1]).toEqual({ branch: "limpet/calm-cove", name: null }));
});

test("a fork begins a branch or an agent, and the way there is shown", async () => {
  const post = `POST ${ALL}/${snapshot.id}/fork`;
  const taken = { code: "branch_taken", message: "It has snapshots already", hint: "Choose another." };
  const { asked, router } = await show(PAGE, {
    ...answers([head, snapshot]),
    [post]: (body) =>
      (body as { to_branch?: string }).to_branch
        ? { status: 409, body: { error: taken } }
        : { body: { agent: { ...agent, id: "agt_2", title: "New one" }, branch: agent.default_branch, is_new_agent: true, head } },
  });
  const [, row] = await rows();
  await choose(row as HTMLElement, "Fork…");
  await userEvent.type(await screen.findByRole("textbox", { name: "Branch" }), "trial/one{Enter}");
  expect((await screen.findByRole("alert")).textContent).toContain("Choose another.");
  await userEvent.click(screen.getByRole("radio", { name: "A new agent" }));
  await userEvent.type(screen.getByRole("textbox", { name: "Title" }), "New one");
  await userEvent.click(screen.getByRole("button", { name: "Fork" }));
  await userEvent.click(await screen.findByRole("link", { name: "Open it" }));
  expect(sent(asked, post)).toEqual([
    { branch: "limpet/calm-cove", to_branch: "trial/one" },
    { branch: "limpet/calm-cove", new_agent: { title: "New one" } },
  ]);
  await waitFor(() => expect(router.state.location.pathname).toBe("/local/agents/agt_2"));
});

test("what is deleted says when it goes, and a name keeps it", async () => {
  const going: Snapshot = {
    ...snapshot,
    condemned_at: new Date(Date.now() - 3_600_000).toISOString(),
    condemned_because: "deleted",
    deleted_after: new Date(Date.now() + 23 * 3_600_000).toISOString(),
  };
  const patch = `PATCH ${ALL}/${snapshot.id}`;
  const { asked } = await show(PAGE, { ...answers([head, going]), [patch]: { body: snapshot } });
  expect(await screen.findByText("Deleted: it goes in 23 h.")).toBeTruthy();
  await userEvent.click(screen.getByRole("button", { name: "Keep it" }));
  await userEvent.keyboard("{Enter}");
  await waitFor(() => expect(sent(asked, patch)).toEqual([{ branch: "limpet/calm-cove", name: "Kept" }]));
});

test("deleting asks first, and the newest snapshot cannot be deleted or gone back to", async () => {
  const remove = `DELETE ${ALL}/${snapshot.id}`;
  const { asked } = await show(PAGE, { ...answers([head, snapshot]), [remove]: { body: snapshot } });
  const [newest, older] = await rows();
  await userEvent.click(within(newest as HTMLElement).getByRole("button", { name: /^More/ }));
  expect(screen.queryByRole("menuitem", { name: "Delete…" })).toBeNull();
  expect(within(newest as HTMLElement).queryByText("Restore")).toBeNull();
  await userEvent.keyboard("{Escape}");
  await choose(older as HTMLElement, "Delete…");
  expect(sent(asked, remove)).toEqual([]);
  await userEvent.click(await screen.findByRole("button", { name: "Delete it" }));
  await waitFor(() => expect(sent(asked, remove)).toHaveLength(1));
});

test("work that was kept aside stands apart with why, and becomes the head", async () => {
  const aside: Snapshot = {
    ...snapshot,
    id: "20260103t120000z-cccccccccccc",
    lineage: "side-0123456789ab",
    is_head: true,
    adoptable: true,
    side_reason: "lost-race",
  };
  const restore = `POST ${ALL}/${aside.id}/restore`;
  const { asked } = await show(PAGE, {
    ...answers([aside, head]),
    [restore]: { body: { head, saved_first: head } },
  });
  const group = await screen.findByRole("region", { name: "Kept aside" });
  expect(group.textContent).toContain("Another writer saved this branch first");
  await userEvent.click(within(group).getByRole("button", { name: "Make this the head" }));
  await userEvent.click(await screen.findByRole("button", { name: "Make it the head" }));
  await waitFor(() => expect(sent(asked, restore)).toEqual([{ branch: "limpet/calm-cove" }]));
});

test("the page of another branch shows that branch's history", async () => {
  const { asked } = await show(`${PAGE}&branch=trial%2Fone`, {
    ...answers([]),
    "POST /api/local/vm/start": { body: { vmId: "x" } },
  });
  expect(await screen.findByText(/Nothing is saved yet/)).toBeTruthy();
  const started = { virtualMcpId: "agt_1", branch: "trial/one", withoutSnapshot: false };
  await waitFor(() => expect(sent(asked, "POST /api/local/vm/start")).toEqual([started]));
  expect(await screen.findByRole("button", { name: /^Branch trial\/one/ })).toBeTruthy();
});
