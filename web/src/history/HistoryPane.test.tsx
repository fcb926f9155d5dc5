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

const changes = {
  before: snapshot.id,
  after: head.id,
  added: 1,
  removed: 0,
  changed: 1,
  renamed: 0,
  changes: [
    { kind: "added", path: "repo/new.txt", old_path: null, type: "file", what: [], size_before: null, size_after: 12, diff: null, binary: false },
    { kind: "changed", path: "repo/a.css", old_path: null, type: "file", what: ["content"], size_before: 5, size_after: 7, diff: null, binary: false },
  ],
  truncated: false,
};
const inside = async (row: HTMLElement) => userEvent.click(within(row).getByRole("button", { name: /^Look inside/ }));

test("what changed is shown, its lines when asked for, and against any other snapshot", async () => {
  const diff = "--- a/repo/a.css\n+++ b/repo/a.css\n@@ -1 +1 @@\n-white\n+black\n";
  const { asked } = await show(PAGE, {
    ...answers([head, snapshot]),
    [`GET ${ALL}/${head.id}/diff`]: () => {
      const { query } = asked.findLast(({ what }) => what.endsWith("/diff")) ?? { query: "" };
      const found = query.includes("text=true") ? [{ ...changes.changes[1], diff }] : changes.changes;
      return { body: { ...changes, changes: found } };
    },
  });
  const [newest] = await rows();
  await inside(newest as HTMLElement);
  expect(await screen.findByText("1 added, 1 changed.")).toBeTruthy();
  await userEvent.click(screen.getByRole("button", { name: /^changed: ?repo\/a\.css/ }));
  const lines = await screen.findByRole("figure", { name: "Lines of repo/a.css" });
  expect(lines.textContent).toContain("black");
  await userEvent.selectOptions(screen.getByRole("combobox", { name: "Compared with" }), snapshot.id);
  await waitFor(() =>
    expect(asked.some(({ what, query }) => what.endsWith("/diff") && query.includes(`other=${snapshot.id}`))).toBe(true),
  );
  await userEvent.click(screen.getByRole("button", { name: "History" }));
  await waitFor(() =>
    expect(document.activeElement).toBe(within(newest as HTMLElement).getByRole("button", { name: /^Look inside/ })),
  );
});

test("files are looked at and taken along without a sandbox", async () => {
  const entry = { type: "file", size_bytes: 5, mode: "0644", modified_at: null, target: null, secret: false, raw: null };
  const { asked } = await show(PAGE, {
    ...answers([head, snapshot]),
    "GET /api/local/sandboxes": { body: { sandboxes: [] } },
    [`GET ${ALL}/${head.id}/diff`]: { body: changes },
    [`GET ${ALL}/${head.id}/files`]: () => {
      const path = new URLSearchParams(asked.at(-1)?.query).get("path");
      const entries = path ? [{ ...entry, path: "repo/a.css" }] : [{ ...entry, path: "z.txt" }, { ...entry, path: "repo", type: "folder" }];
      return { body: { snapshot: head.id, path, entries, next: null } };
    },
    [`GET ${ALL}/${head.id}/file`]: {
      body: { entry: { ...entry, path: "repo/a.css" }, offset: 0, kind: "text", text: "black", base64: null, truncated: false },
    },
  });
  const [newest] = await rows();
  await inside(newest as HTMLElement);
  await userEvent.click(await screen.findByRole("tab", { name: "Files" }));
  const list = within(await screen.findByRole("list", { name: "Files" }));
  expect(list.getAllByRole("button").map((one) => one.textContent)).toEqual(["repo", "z.txt5 B"]);
  await userEvent.click(list.getByRole("button", { name: "repo" }));
  await userEvent.click(await screen.findByRole("button", { name: /^a\.css/ }));
  expect(await screen.findByText("black")).toBeTruthy();
  const link = screen.getByRole<HTMLAnchorElement>("link", { name: "Download" });
  expect(link.getAttribute("href")).toBe(
    `${ALL}/${head.id}/download?branch=limpet%2Fcalm-cove&path=repo%2Fa.css`,
  );
});

test("going back can be undone at once", async () => {
  const saved = { ...snapshot, id: "20260103t120000z-dddddddddddd", reason: "before-restore" };
  const { asked } = await show(PAGE, {
    ...answers([head, snapshot]),
    [`POST ${ALL}/${snapshot.id}/restore`]: { body: { head, saved_first: saved } },
    [`POST ${ALL}/${saved.id}/restore`]: { body: { head: { ...head, parent: null }, saved_first: null } },
  });
  const [, older] = await rows();
  await userEvent.click(within(older as HTMLElement).getByRole("button", { name: "Restore" }));
  await userEvent.click(await screen.findByRole("button", { name: "Bring it back" }));
  await userEvent.click(await screen.findByRole("button", { name: "Undo" }));
  await waitFor(() => expect(sent(asked, `POST ${ALL}/${saved.id}/restore`)).toEqual([{ branch: "limpet/calm-cove" }]));
  await waitFor(() => expect(screen.queryByRole("button", { name: "Undo" })).toBeNull());
});

test("a turn's snapshots say which turn they show, and whose", async () => {
  const turn = { when: "before" as const, number: 3, thread: "t1", run: "r1", author: "ada", commit: "0123456789abcdef" };
  await show(PAGE, answers([head, { ...snapshot, name: "Before turn 3 of Dark hero", turn }]));
  const [, row] = await rows();
  expect(row?.textContent).toContain("Before turn 3");
  expect(row?.textContent).toContain("by ada · 0123456");
});

test("what was saved already is gone back to by its snapshot, also after a look elsewhere", async () => {
  const { asked, router } = await show(PAGE, {
    ...answers([head, snapshot]),
    [`POST ${ALL}/${snapshot.id}/restore`]: { body: { head: { ...head, parent: head.id }, saved_first: null } },
    [`POST ${ALL}/${head.id}/restore`]: { body: { head, saved_first: null } },
  });
  const [, older] = await rows();
  await userEvent.click(within(older as HTMLElement).getByRole("button", { name: "Restore" }));
  await userEvent.click(await screen.findByRole("button", { name: "Bring it back" }));
  await screen.findByRole("button", { name: "Undo" });
  const at = { to: "/$org/agents/$agentId", params: { org: "local", agentId: "agt_1" } } as const;
  await router.navigate({ ...at, search: { main: "logs" } });
  await waitFor(() => expect(screen.queryByRole("button", { name: "Undo" })).toBeNull());
  await router.navigate({ ...at, search: { main: "history" } });
  await userEvent.click(await screen.findByRole("button", { name: "Undo" }));
  await waitFor(() => expect(sent(asked, `POST ${ALL}/${head.id}/restore`)).toHaveLength(1));
});
