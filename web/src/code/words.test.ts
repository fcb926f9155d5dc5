import { expect, test } from "vitest";
import { best, fit } from "./fuzzy.ts";
import { byFile, literal, marked } from "./grep.ts";
import { withClosed, withMoved, withOpened } from "./openFiles.ts";
import { afterMove, badName, foldersOf, inFolder, parentOf } from "./paths.ts";

test("what was typed fits names before folders, and letters in their order", () => {
  const paths = ["src/tide/list.ts", "src/parts/tide.ts", "src/main.ts", "README.md"];
  expect(best(paths, "tide")).toEqual(["src/parts/tide.ts", "src/tide/list.ts"]);
  expect(best(paths, "smts")[0]).toBe("src/main.ts");
  expect(best(paths, "")).toEqual(paths);
  expect(fit("abc", "cb")).toBeNull();
  expect(fit("a", "aa")).toBeNull();
});

test("what was found stands by its file", () => {
  expect(byFile("src/a.ts:3:x: 1\nsrc/a.ts:9:y\nb:c.ts:1:z\n\n")).toEqual([
    { path: "src/a.ts", hits: [{ line: 3, text: "x: 1" }, { line: 9, text: "y" }] },
    { path: "b:c.ts", hits: [{ line: 1, text: "z" }] },
  ]);
});

test("what was found is marked, also where the text is a pattern's letters", () => {
  expect(marked("f(a) + F(a)", literal("f(a)"), true)).toEqual(["", "f(a)", " + ", "F(a)", ""]);
  expect(marked("abc", "(b", false)).toEqual(["abc"]);
  expect(marked("aaa", "x*", false)).toEqual(["aaa"]);
  const [first, found] = marked(`${"-".repeat(500)}here`, "here", false);
  expect([first?.length, found]).toEqual([61, "here"]);
});

test("closing shows the next file, moving takes the open ones along", () => {
  expect(withOpened(["a"], "b")).toEqual(["a", "b"]);
  expect(withOpened(["a", "b"], "a")).toEqual(["a", "b"]);
  expect(withClosed(["a", "b", "c"], "b", "b")).toEqual({ files: ["a", "c"], shown: "c" });
  expect(withClosed(["a", "b"], "b", "b")).toEqual({ files: ["a"], shown: "a" });
  expect(withClosed(["a", "b"], "a", "b")).toEqual({ files: ["b"], shown: "b" });
  expect(withClosed(["src/x", "src/y", "z"], "src", "src/x")).toEqual({ files: ["z"], shown: "z" });
  expect(withMoved(["src/x", "srcs/y"], "src", "lib")).toEqual(["lib/x", "srcs/y"]);
});

test("paths know their folders", () => {
  expect([parentOf("a"), parentOf("a/b/c"), inFolder(".", "a"), inFolder("a", "b")]).toEqual([".", "a/b", "a", "a/b"]);
  expect(foldersOf("a/b/c")).toEqual(["a", "a/b"]);
  expect([afterMove("a/b", "a", "z"), afterMove("ab", "a", "z")]).toEqual(["z/b", "ab"]);
  expect(["a/b.ts", "..", "a//b", "", ".git/config", "x".repeat(256)].map((name) => badName(name) === null)).toEqual([
    true, false, false, false, false, false,
  ]);
});
