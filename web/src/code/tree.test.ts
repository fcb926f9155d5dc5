import { expect, test } from "vitest";
import type { ListedEntry } from "../api/insideTypes.ts";
import { keyIn, rowsOf, sorted } from "./tree.ts";

const entry = (name: string, kind: ListedEntry["kind"] = "file", more: Partial<ListedEntry> = {}): ListedEntry => ({
  name,
  kind,
  size: 1,
  mtimeMs: 0,
  executable: false,
  ...more,
});
const listed = (...entries: ListedEntry[]) => ({ entries, total: entries.length, truncated: false });
const lists = new Map([
  [".", listed(entry(".git", "folder"), entry("b.ts"), entry("src", "folder"), entry("Archive", "folder"))],
  ["src", listed(entry("file10"), entry("file2"), entry("deep", "folder"))],
  ["src/deep", undefined],
]);
const rows = rowsOf(lists, new Set(["src", "src/deep"]));

test("folders stand first, what is in an open one below it, and git's own is left out", () => {
  expect(rows.map(({ path, depth }) => [path, depth])).toEqual([
    ["Archive", 1],
    ["src", 1],
    ["src/deep", 2],
    ["src/file2", 2],
    ["src/file10", 2],
    ["b.ts", 1],
  ]);
  expect(rows.map(({ place, among }) => `${place}/${among}`)).toEqual(["1/3", "2/3", "1/3", "2/3", "3/3", "3/3"]);
  expect(rows[2]).toMatchObject({ folder: true, open: true });
});

test("an open folder within a shut one does not show", () => {
  expect(rowsOf(lists, new Set(["src/deep"])).map(({ path }) => path)).toEqual(["Archive", "src", "b.ts"]);
});

test("links are what they lead to, and one that leads nowhere is said", () => {
  const [first, second] = sorted([
    entry("away", "link", { target: "nowhere", targetKind: null }),
    entry("to-folder", "link", { target: "src", targetKind: "folder" }),
  ]);
  expect([first?.name, second?.name]).toEqual(["to-folder", "away"]);
  const shown = rowsOf(new Map([[".", listed(first as ListedEntry, second as ListedEntry)]]), new Set());
  expect(shown.map(({ note, folder }) => [note, folder])).toEqual([
    ["link", true],
    ["broken", false],
  ]);
});

test.each([
  ["src", "ArrowDown", { act: "go", path: "src/deep" }],
  ["src", "ArrowUp", { act: "go", path: "Archive" }],
  ["src", "ArrowRight", { act: "go", path: "src/deep" }],
  ["Archive", "ArrowRight", { act: "open", path: "Archive" }],
  ["src", "ArrowLeft", { act: "shut", path: "src" }],
  ["src/file2", "ArrowLeft", { act: "go", path: "src" }],
  ["src/deep", "ArrowRight", null],
  ["b.ts", "ArrowLeft", null],
  ["b.ts", "ArrowDown", null],
  ["b.ts", "ArrowRight", null],
  ["src", "Home", { act: "go", path: "Archive" }],
  ["src", "End", { act: "go", path: "b.ts" }],
  ["Archive", "f", { act: "go", path: "src/file2" }],
  ["src/file2", "f", { act: "go", path: "src/file10" }],
  ["src", "B", { act: "go", path: "b.ts" }],
  ["src", "*", { act: "openAll", paths: ["Archive"] }],
  ["gone", "ArrowDown", { act: "go", path: "Archive" }],
])("on %s the key %s does %j", (path, key, done) => expect(keyIn(rows, path, key)).toEqual(done));
