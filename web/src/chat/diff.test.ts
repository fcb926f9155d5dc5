import { expect, test } from "vitest";
import { counted, diffLines } from "./diff.ts";

const diff = `--- a/src/App.tsx
+++ b/src/App.tsx
@@ -1,3 +1,3 @@ export function App()
 same
-old
--- a line that begins with two dashes
+new
+++ a line that begins with two plusses
\\ No newline at end of file
`;

test("a diff is its lines, and the files' names are none of them", () => {
  const lines = diffLines(diff);
  expect(lines).toEqual([
    { kind: "place", text: "export function App()" },
    { kind: "same", text: "same" },
    { kind: "removed", text: "old" },
    { kind: "removed", text: "-- a line that begins with two dashes" },
    { kind: "added", text: "new" },
    { kind: "added", text: "++ a line that begins with two plusses" },
  ]);
  expect(counted(lines)).toEqual({ added: 2, removed: 2 });
});

test("where a part begins is said only between parts, or by its name", () => {
  const kinds = diffLines("@@ -1 +1 @@\n-a\n+b\n@@ -9 +9 @@\n-c\n+d\n").map(({ kind }) => kind);
  expect(kinds).toEqual(["removed", "added", "place", "removed", "added"]);
});

test("nothing is no lines", () => expect(diffLines("")).toEqual([]));
