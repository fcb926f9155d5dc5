// @vitest-environment jsdom
import { EditorView } from "@codemirror/view";
import { fireEvent, screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { beforeEach, expect, test } from "vitest";
import { box } from "../test/agent.ts";
import { type Answers, show } from "../test/app.tsx";
import { DAEMON, disk, EVENTS, listed, running } from "../test/inside.ts";
import { sse } from "../test/thread.ts";
import { forgetBuffer } from "./buffers.ts";

const PAGE = "/local/agents/agt_1?main=code";
const folders: Record<string, ReturnType<typeof listed>> = {
  ".": listed("README.md", "src/", ".git/"),
  src: listed("main.ts", "style.css"),
};
const clean = { current: "x", base: null, files: [{ path: "src/main.ts", index: " ", working_dir: "M" }] };
const tree: Answers = {
  ...running,
  [`POST ${DAEMON}/list`]: (body) => ({ body: folders[(body as { path: string }).path] }),
  [`GET ${DAEMON}/git/status`]: { body: clean },
};

beforeEach(() => {
  // jsdom lays nothing out.
  Range.prototype.getClientRects = () => [] as unknown as DOMRectList;
  Range.prototype.getBoundingClientRect = () => new DOMRect();
  for (const path of ["README.md", "src/main.ts"]) forgetBuffer(box.handle, path);
});

const item = (name: RegExp) => screen.findByRole("treeitem", { name });
const editor = (name: string) => screen.findByRole("textbox", { name });
const viewOf = async (name: string) => EditorView.findFromDOM(await editor(name)) as EditorView;
const type = (view: EditorView, text: string) =>
  view.dispatch({ changes: { from: view.state.doc.length, insert: text } });
const save = () => fireEvent.keyDown(document, { key: "s", ctrlKey: true });
const puts = (asked: { what: string; body: unknown; headers: Record<string, unknown> }[]) =>
  asked.filter(({ what }) => what.startsWith("PUT")).map(({ body, headers }) => [body, headers["if-match"]]);

test("folders are listed when they are opened, by the keyboard alone, and a file opens", async () => {
  const { answers } = disk({ "src/main.ts": "let tide = 1;\n" });
  const { asked, router } = await show(PAGE, { ...tree, ...answers });
  const src = await item(/^src/);
  expect(screen.queryByRole("treeitem", { name: /\.git/ })).toBeNull();
  const lists = asked.filter(({ what }) => what.endsWith("/list")).map(({ body }) => body);
  expect(new Set(lists.map((body) => (body as { path: string }).path))).toEqual(new Set(["."]));
  src.focus();
  await userEvent.keyboard("{ArrowRight}");
  const main = await item(/^main\.ts/);
  expect([main.getAttribute("aria-level"), main.textContent]).toEqual(["2", "main.tsM(changed since the last commit)"]);
  await userEvent.keyboard("{ArrowRight}{Enter}");
  expect((await editor("src/main.ts")).textContent).toContain("let tide = 1;");
  await waitFor(() => expect(main.getAttribute("aria-selected")).toBe("true"));
  expect(router.state.location.search).toEqual({ main: "code", file: "src/main.ts" });
});

test("what is saved names the state that it grew from", async () => {
  const files = disk({ "README.md": "one\r\ntwo\r\n" });
  const { asked } = await show(`${PAGE}&file=README.md`, { ...tree, ...files.answers });
  const view = await viewOf("README.md");
  expect(screen.getByRole<HTMLButtonElement>("button", { name: "Save" }).disabled).toBe(true);
  type(view, "three");
  expect(await screen.findByText("Not saved")).toBeTruthy();
  save();
  expect(await screen.findByText("Saved")).toBeTruthy();
  expect(puts(asked)).toEqual([["one\r\ntwo\r\nthree", '"1"']]);
  type(view, "!");
  save();
  await waitFor(() => expect(files.read("README.md")).toBe("one\r\ntwo\r\nthree!"));
});

test("a file that only the disk changed is followed", async () => {
  const files = disk({ "README.md": "one\n" });
  const { tell } = await show(`${PAGE}&file=README.md`, { ...tree, ...files.answers });
  const view = await viewOf("README.md");
  files.write("README.md", "one\ntwo\n");
  await tell(EVENTS, sse("file-changed", { path: "README.md" }));
  await waitFor(() => expect(view.state.doc.toString()).toBe("one\ntwo\n"));
  expect(screen.queryByText("Not saved")).toBeNull();
});

test("a file that both changed is not overwritten, and the user chooses", async () => {
  const files = disk({ "README.md": "one\n" });
  const { asked } = await show(`${PAGE}&file=README.md`, { ...tree, ...files.answers });
  const view = await viewOf("README.md");
  type(view, "mine\n");
  // Nobody told of this change: the write itself finds it out.
  files.write("README.md", "theirs\n");
  save();
  const told = await screen.findByRole("alert", { name: "The file changed on disk" });
  expect(files.read("README.md")).toBe("theirs\n");
  save();
  await userEvent.click(within(told).getByRole("button", { name: "Compare" }));
  expect(await screen.findByText("Beside what is on disk")).toBeTruthy();
  expect(puts(asked)).toHaveLength(1);
  await userEvent.click(within(told).getByRole("button", { name: "Keep mine" }));
  await waitFor(() => expect(files.read("README.md")).toBe("one\nmine\n"));
  expect(puts(asked)[1]).toEqual(["one\nmine\n", '"2"']);
  await waitFor(() => expect(told.isConnected).toBe(false));
});

test("taking the one on disk can be undone", async () => {
  const files = disk({ "README.md": "one\n" });
  const { tell } = await show(`${PAGE}&file=README.md`, { ...tree, ...files.answers });
  const view = await viewOf("README.md");
  type(view, "mine\n");
  files.write("README.md", "theirs\n");
  await tell(EVENTS, sse("file-changed", { path: "README.md" }));
  await userEvent.click(await screen.findByRole("button", { name: "Take the one on disk" }));
  await waitFor(() => expect(view.state.doc.toString()).toBe("theirs\n"));
  fireEvent.keyDown(view.contentDOM, { key: "z", ctrlKey: true, keyCode: 90 });
  expect(view.state.doc.toString()).toBe("one\nmine\n");
});

test("closing a file with unsaved changes asks", async () => {
  const files = disk({ "README.md": "one\n" });
  await show(`${PAGE}&file=README.md`, { ...tree, ...files.answers });
  type(await viewOf("README.md"), "mine\n");
  await userEvent.click(await screen.findByRole("button", { name: "Close README.md" }));
  await userEvent.click(await screen.findByRole("button", { name: "Save and close" }));
  await waitFor(() => expect(files.read("README.md")).toBe("one\nmine\n"));
  expect(await screen.findByText("No file is open")).toBeTruthy();
});

test("the open file stands beside the last commit, of which only the patch is told", async () => {
  const files = disk({ "README.md": "one\nnew\n" });
  const patch = "diff --git a/README.md b/README.md\n--- a/README.md\n+++ b/README.md\n@@ -1,2 +1,2 @@\n one\n-old\n+new\n";
  await show(`${PAGE}&file=README.md`, {
    ...tree,
    ...files.answers,
    [`GET ${DAEMON}/git/diff`]: { body: { diffs: { "README.md": patch }, truncated: false, files: ["README.md"] } },
  });
  const text = await editor("README.md");
  await userEvent.click(screen.getByRole("button", { name: "More on the open file README.md" }));
  await userEvent.click(await screen.findByRole("menuitem", { name: "Compare with the last commit" }));
  await waitFor(() => expect(text.querySelector(".cm-deletedChunk")?.textContent).toContain("old"));
  await userEvent.click(await screen.findByRole("button", { name: "Put back" }));
  expect((await viewOf("README.md")).state.doc.toString()).toBe("one\nold\n");
});

test("binary and big files are told, and can be taken along", async () => {
  const files = disk({ "data.bin": "a\0b" });
  await show(`${PAGE}&file=data.bin`, { ...tree, ...files.answers });
  expect(await screen.findByText("It is no text: 3 B of something else.")).toBeTruthy();
  expect(screen.getByRole("button", { name: "Download" })).toBeTruthy();
});

test("a new file is made where it was asked for; one that is there is left alone", async () => {
  const files = disk({ "src/main.ts": "x" });
  await show(PAGE, { ...tree, ...files.answers });
  await userEvent.click(await item(/^src/));
  await userEvent.click(screen.getByRole("button", { name: "New file" }));
  const field = await screen.findByRole("textbox", { name: "Name" });
  await userEvent.type(field, "../x{Enter}");
  expect(screen.getByRole("alert").textContent).toContain("two dots");
  await userEvent.clear(field);
  await userEvent.type(field, "main.ts{Enter}");
  await waitFor(() => expect(screen.getByRole("alert").textContent).toContain("If-Match"));
  await userEvent.clear(field);
  await userEvent.type(field, "deep/new.ts{Enter}");
  expect(await editor("src/deep/new.ts")).toBeTruthy();
  expect([files.read("src/main.ts"), files.read("src/deep/new.ts")]).toEqual(["x", ""]);
});

test("deleting asks, says whether a snapshot has it, and can save one first", async () => {
  const saving = "POST /api/local/agents/agt_1/snapshots";
  const { asked } = await show(PAGE, {
    ...tree,
    "GET /api/local/sandboxes": { body: { sandboxes: [{ ...box, unsaved: true }] } },
    [saving]: { body: { id: "s1" } },
    [`POST ${DAEMON}/unlink`]: { body: { ok: true, existed: true } },
  });
  (await item(/^README/)).focus();
  await userEvent.keyboard("{Delete}");
  const dialog = await screen.findByRole("dialog", { name: "Delete README.md?" });
  expect(dialog.textContent).toContain("No snapshot has it as it is now");
  await userEvent.click(within(dialog).getByRole("button", { name: "Save first, then delete" }));
  await waitFor(() => expect(asked.map(({ what }) => what)).toContain(`POST ${DAEMON}/unlink`));
  const order = asked.filter(({ what }) => what === saving || what.endsWith("/unlink"));
  expect(order.map(({ body }) => body)).toEqual([
    { branch: "limpet/calm-cove", name: "Before: Delete README.md?" },
    { path: "README.md", recursive: true },
  ]);
});

test("a search groups what it found by file, and opens it at its line", async () => {
  const files = disk({ "src/main.ts": "one\ntwo tide\n" });
  const { asked } = await show(PAGE, {
    ...tree,
    ...files.answers,
    [`POST ${DAEMON}/grep`]: { body: { results: "src/main.ts:2:two tide\n", matchCount: 1 } },
  });
  await item(/^src/);
  fireEvent.keyDown(document, { code: "KeyF", altKey: true, shiftKey: true });
  await userEvent.type(await screen.findByRole("searchbox", { name: "Search in all files" }), "ti.e{Enter}");
  expect(await screen.findByText("1 line in 1 file.")).toBeTruthy();
  const [{ body } = { body: null }] = asked.filter(({ what }) => what.endsWith("/grep"));
  expect(body).toMatchObject({ pattern: String.raw`ti\.e`, ignore_case: true });
  await userEvent.click(screen.getByRole("button", { name: /two/ }));
  const view = await viewOf("src/main.ts");
  await waitFor(() => expect(view.state.selection.main).toMatchObject({ from: 4, to: 12 }));
});

test("results that may be old say so, and are sought again when asked", async () => {
  const { asked, tell } = await show(PAGE, {
    ...tree,
    [`POST ${DAEMON}/grep`]: { body: { results: "src/main.ts:2:two tide\n", matchCount: 1 } },
  });
  const searches = () => asked.filter(({ what }) => what.endsWith("/grep")).length;
  await item(/^src/);
  fireEvent.keyDown(document, { code: "KeyF", altKey: true, shiftKey: true });
  await userEvent.type(await screen.findByRole("searchbox", { name: "Search in all files" }), "tide{Enter}");
  await screen.findByText("1 line in 1 file.");
  expect(screen.queryByText("Files changed since.")).toBeNull();
  await tell(EVENTS, sse("file-changed", { path: "src/main.ts" }));
  await screen.findByText("Files changed since.");
  expect(searches()).toBe(1);
  await userEvent.click(screen.getByRole("button", { name: "Search again" }));
  await waitFor(() => expect(screen.queryByText("Files changed since.")).toBeNull());
  expect(searches()).toBe(2);
});

test("a file opens by some letters of its path", async () => {
  const files = disk({ "src/main.ts": "found\n" });
  await show(PAGE, {
    ...tree,
    ...files.answers,
    [`POST ${DAEMON}/glob`]: { body: { files: ["README.md", "src/main.ts", "src/style.css"] } },
  });
  await item(/^src/);
  fireEvent.keyDown(document, { code: "KeyP", altKey: true });
  await userEvent.type(await screen.findByRole("combobox", { name: "File" }), "smts");
  await waitFor(() => expect(screen.getAllByRole("option")).toHaveLength(1));
  await userEvent.keyboard("{Enter}");
  expect((await editor("src/main.ts")).textContent).toContain("found");
});

/** What waits until it is told to go on. */
function gate() {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open: () => open() };
}

test("Enter before the files are listed opens the one that fits, once they are", async () => {
  const files = disk({ "src/main.ts": "found\n" });
  const list = gate();
  const { router } = await show(PAGE, {
    ...tree,
    ...files.answers,
    [`POST ${DAEMON}/glob`]: async () => {
      await list.opened;
      return { body: { files: ["README.md", "src/main.ts", "src/style.css"] } };
    },
  });
  await item(/^src/);
  fireEvent.keyDown(document, { code: "KeyP", altKey: true });
  await userEvent.type(await screen.findByRole("combobox", { name: "File" }), "smts{Enter}");
  expect(await screen.findByText("Listing the files… The one that fits best is opened then.")).toBeTruthy();
  expect(router.state.location.search).toEqual({ main: "code" });
  list.open();
  expect((await editor("src/main.ts")).textContent).toContain("found");
  expect(screen.queryByRole("dialog")).toBeNull();
});

test("what is typed after an early Enter is another wish, which waits for its own", async () => {
  const list = gate();
  const { router } = await show(PAGE, {
    ...tree,
    [`POST ${DAEMON}/glob`]: async () => {
      await list.opened;
      return { body: { files: ["README.md", "src/main.ts"] } };
    },
  });
  await item(/^src/);
  fireEvent.keyDown(document, { code: "KeyP", altKey: true });
  await userEvent.type(await screen.findByRole("combobox", { name: "File" }), "r{Enter}m");
  list.open();
  await screen.findByRole("option", { name: /README/ });
  expect(router.state.location.search).toEqual({ main: "code" });
  await userEvent.type(screen.getByRole("combobox", { name: "File" }), "zzz{Enter}");
  expect(await screen.findByText("No file fits.")).toBeTruthy();
});

test("an empty file is there to be written in, and is asked for once", async () => {
  const files = disk({ "README.md": "" });
  const { asked } = await show(`${PAGE}&file=README.md`, { ...tree, ...files.answers });
  expect((await editor("README.md")).textContent).toBe("");
  expect(asked.filter(({ what }) => what === `GET ${DAEMON}/download`)).toHaveLength(1);
});

test("a sandbox that does not run says so, and is started from here", async () => {
  const { asked } = await show(PAGE, {
    ...running,
    "GET /api/local/sandboxes": { body: { sandboxes: [{ ...box, state: "failed" }] } },
    "POST /api/local/vm/start": { status: 500, body: { error: { code: "x", message: "No room", hint: "" } } },
  });
  expect(await screen.findByRole("heading", { name: "The sandbox is not running" })).toBeTruthy();
  const before = asked.filter(({ what }) => what === "POST /api/local/vm/start").length;
  const main = within(screen.getByRole("main"));
  await userEvent.click(await main.findByRole("button", { name: "Start" }));
  await waitFor(() => expect(asked.filter(({ what }) => what === "POST /api/local/vm/start").length).toBeGreaterThan(before));
});
