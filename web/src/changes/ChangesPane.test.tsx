// @vitest-environment jsdom
import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import type { ChangedFile, GitStatus } from "../api/insideTypes.ts";
import type { Snapshot } from "../api/types.ts";
import { agent, box } from "../test/agent.ts";
import { type Answers, show } from "../test/app.tsx";
import { DAEMON, EVENTS, running } from "../test/inside.ts";
import { sse } from "../test/thread.ts";

const PAGE = "/local/agents/agt_1?main=changes";
const files: ChangedFile[] = [
  { path: "src/main.ts", index: " ", working_dir: "M" },
  { path: "src/new.ts", index: "?", working_dir: "?" },
  { path: "new-name.md", index: "R", working_dir: " ", from: "old-name.md" },
];
const status = (changed: ChangedFile[], more: Partial<GitStatus> = {}): GitStatus => ({
  current: "limpet/calm-cove",
  base: null,
  headSha: "a".repeat(40),
  ahead: null,
  behind: null,
  unpushed: null,
  clean: changed.length === 0,
  underWay: null,
  files: changed,
  ...more,
});
const commit = {
  sha: "b".repeat(40),
  parents: [],
  author: { name: "Ada", email: "ada@example.com" },
  date: "2026-01-01T00:00:00Z",
  refs: ["HEAD -> limpet/calm-cove"],
  subject: "Begin",
  body: "Because.",
};
const patch = (path: string) =>
  `diff --git a/${path} b/${path}\n--- a/${path}\n+++ b/${path}\n@@ -1 +1 @@\n-before\n+after\n`;
const repository = (now: () => GitStatus): Answers => ({
  ...running,
  [`GET ${DAEMON}/git/status`]: () => ({ body: now() }),
  [`GET ${DAEMON}/git/log`]: { body: { commits: [commit], more: false } },
  [`GET ${DAEMON}/git/diff`]: {
    body: { diffs: { "src/main.ts": patch("src/main.ts") }, truncated: false, files: ["src/main.ts"] },
  },
  [`GET ${DAEMON}/git/commit`]: { body: { ...commit, patch: patch("README.md"), truncated: false } },
});
const bodies = (asked: { what: string; body: unknown }[], route: string) =>
  asked.filter(({ what }) => what === `POST ${DAEMON}/git/${route}`).map(({ body }) => body);

test("what changed stands by its kind, each with its diff", async () => {
  const { asked } = await show(PAGE, repository(() => status(files)));
  const changes = await screen.findByRole("region", { name: "Changes" });
  expect(within(changes).getAllByRole("heading").map(({ textContent }) => textContent)).toEqual([
    "Changed 1",
    "Renamed 1",
    "New 1",
  ]);
  await userEvent.click(within(changes).getByRole("button", { name: /^main\.ts/ }));
  expect((await screen.findByRole("figure", { name: "How src/main.ts changed" })).textContent).toContain("after");
  expect(asked.find(({ what }) => what.endsWith("/git/diff"))?.query).toBe("?path=src%2Fmain.ts");
  expect(asked.every(({ what, headers }) => !/GET .*\/git\//.test(what) || headers["x-limpet-poll"] === "1")).toBe(true);
});

test("a commit takes the chosen files, or all of them, with its message", async () => {
  let left = files;
  const { asked } = await show(PAGE, {
    ...repository(() => status(left)),
    [`POST ${DAEMON}/git/commit`]: () => {
      left = left.slice(1, 2);
      return { body: { committed: true, sha: commit.sha } };
    },
  });
  await userEvent.click(await screen.findByRole("checkbox", { name: "Commit src/new.ts" }));
  const field = screen.getByRole("textbox", { name: /for the commit/ });
  await userEvent.type(field, "Rename it{Control>}{Enter}{/Control}");
  expect(await screen.findByText("Committed.")).toBeTruthy();
  await waitFor(() => expect(screen.queryByRole("checkbox", { name: "Commit src/main.ts" })).toBeNull());
  await userEvent.type(field, "The rest");
  await userEvent.click(screen.getByRole("button", { name: "Commit all" }));
  await waitFor(() =>
    expect(bodies(asked, "commit")).toEqual([
      { message: "Rename it", filepaths: ["src/main.ts", "old-name.md", "new-name.md"] },
      { message: "The rest" },
    ]),
  );
});

test("discarding asks, and says which snapshot has it", async () => {
  const saved = { id: "s1", created_at: new Date(Date.now() - 150_000).toISOString() } as Snapshot;
  const { asked } = await show(PAGE, {
    ...repository(() => status(files)),
    "GET /api/local/sandboxes": { body: { sandboxes: [{ ...box, unsaved: false, last_save: saved }] } },
    [`POST ${DAEMON}/git/discard`]: { body: { success: true, discarded: [] } },
  });
  await userEvent.click(await screen.findByRole("button", { name: "Discard new-name.md" }));
  const dialog = await screen.findByRole("dialog", { name: "Discard new-name.md?" });
  expect(dialog.textContent).toContain("The snapshot of 2 min ago has everything as it is now");
  expect(bodies(asked, "discard")).toEqual([]);
  await userEvent.click(within(dialog).getByRole("button", { name: "Discard" }));
  await waitFor(() => expect(bodies(asked, "discard")).toEqual([{ filepaths: ["old-name.md", "new-name.md"] }]));
});

test("changes of others show by themselves, and nothing changed teaches what comes here", async () => {
  let now: ChangedFile[] = [];
  const { asked, tell } = await show(PAGE, repository(() => status(now)));
  expect(await screen.findByText("Nothing changed since the last commit")).toBeTruthy();
  // Once more when the stream opens: what happened before it is not told.
  const looks = () => asked.filter(({ what }) => what.endsWith("/git/status")).length;
  await waitFor(() => expect(looks()).toBe(2));
  now = files;
  await tell(EVENTS, sse("file-changed", { path: "src/main.ts" }));
  expect(await screen.findByRole("checkbox", { name: "Commit src/main.ts" })).toBeTruthy();
});

test("a commit shows what it changed and why", async () => {
  await show(PAGE, repository(() => status([])));
  const commits = within(await screen.findByRole("region", { name: "Commits" }));
  await userEvent.click(await commits.findByRole("button", { name: /Begin/ }));
  expect(await commits.findByText("Because.")).toBeTruthy();
  expect(commits.getByRole("figure", { name: "How README.md changed" })).toBeTruthy();
});

test("with a remote it is pushed and pulled, and a refusal is told in its words", async () => {
  const { asked } = await show(PAGE, {
    ...repository(() => status([], { base: "main", ahead: 2, behind: 0, unpushed: 2 })),
    "GET /api/local/agents/agt_1": {
      body: { ...agent, metadata: { ...agent.metadata, clone_url: "https://example.com/x.git" } },
    },
    [`POST ${DAEMON}/git/pull`]: { body: { pulled: false } },
    [`POST ${DAEMON}/git/push`]: {
      status: 409,
      body: { error: "the remote's 'x' has commits that are not here; nothing was pushed", hint: "Rebase onto it." },
    },
  });
  const branch = within(await screen.findByRole("region", { name: "Branch" }));
  expect(branch.getByText("2 commits ahead of main · 2 commits not pushed")).toBeTruthy();
  await userEvent.click(branch.getByRole("button", { name: "Pull" }));
  expect(await branch.findByText(/^Pulled/)).toBeTruthy();
  await userEvent.click(branch.getByRole("button", { name: "Push 2" }));
  expect((await branch.findByRole("alert")).textContent).toContain("Rebase onto it.");
  expect(bodies(asked, "push")).toEqual([{}]);
});

test("before there is a repository it is said", async () => {
  await show(PAGE, {
    ...running,
    [`GET ${DAEMON}/git/status`]: { status: 409, body: { error: "there is no repository yet", notReady: true } },
  });
  expect(await screen.findByText("There is no repository yet")).toBeTruthy();
});
