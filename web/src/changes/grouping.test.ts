import { expect, test } from "vitest";
import type { ChangedFile, GitStatus } from "../api/insideTypes.ts";
import { grouped, kindOf, patchesOf, pathsOf } from "./grouping.ts";
import { discardWords, standing } from "./words.ts";

const file = (letters: string, path: string, from?: string): ChangedFile => ({
  path,
  index: letters[0] ?? "",
  working_dir: letters[1] ?? "",
  ...(from && { from }),
});

test.each([
  [" M", "changed"],
  ["M ", "changed"],
  ["MM", "changed"],
  [" T", "changed"],
  ["??", "new"],
  ["A ", "new"],
  ["AM", "new"],
  [" D", "deleted"],
  ["D ", "deleted"],
  ["MD", "deleted"],
  ["AD", "deleted"],
  ["R ", "renamed"],
  ["RM", "renamed"],
  ["UU", "conflict"],
  ["AA", "conflict"],
  ["DU", "conflict"],
])("%j is %s", (letters, kind) => expect(kindOf(file(letters, "a"))).toBe(kind));

test("what needs a decision stands first, and empty groups are left out", () => {
  const groups = grouped([file("??", "n"), file(" M", "m"), file("UU", "c"), file(" M", "o")]);
  expect(groups.map(({ kind, files }) => [kind, files.map(({ path }) => path)])).toEqual([
    ["conflict", ["c"]],
    ["changed", ["m", "o"]],
    ["new", ["n"]],
  ]);
});

test("a renamed file is committed with the name that it had", () => {
  expect(pathsOf([file("R ", "new", "old"), file(" M", "m")])).toEqual(["old", "new", "m"]);
});

test("a commit's patch is its files'", () => {
  const patch = `diff --git a/gone b/gone
deleted file mode 100644
--- a/gone
+++ /dev/null
@@ -1 +0,0 @@
-x
diff --git a/with space b/with space
--- a/with space\t
+++ b/with space\t
@@ -1 +1 @@
-+++ b/no
+y
diff --git a/picture.png b/picture.png
Binary files differ
diff --git a/old b/new
similarity index 100%
rename from old
rename to new
`;
  expect(patchesOf(patch).map(({ path }) => path)).toEqual(["gone", "with space", "picture.png", "new"]);
  expect(patchesOf("")).toEqual([]);
});

test("how the branch stands is said as far as it is known", () => {
  const status: GitStatus = {
    current: "work", base: "main", headSha: "x", ahead: 1, behind: 2, unpushed: 1, clean: true, underWay: null, files: [],
  };
  expect(standing(status)).toEqual(["1 commit ahead of main", "2 commits behind main", "1 commit not pushed"]);
  expect(standing({ ...status, ahead: 0, behind: 0, unpushed: null })).toEqual(["even with main"]);
  expect(standing({ ...status, base: null, ahead: null, unpushed: 0, underWay: "merge" })).toEqual([
    "a merge is under way",
  ]);
});

test("what becomes of discarded files is said", () => {
  expect(discardWords([file("??", "n")])).toContain("it is deleted");
  expect(discardWords([file(" M", "m")])).toBe("It becomes as it is in the last commit.");
  expect(discardWords([file(" M", "m"), file("??", "n")])).toContain("1 that no commit has is deleted");
});
