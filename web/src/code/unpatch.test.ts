import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { unpatched } from "./unpatch.ts";

const folder = mkdtempSync(join(tmpdir(), "unpatch-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** What git says leads from one text to the other. */
function patchOf(before: string, after: string): string {
  writeFileSync(join(folder, "a"), before);
  writeFileSync(join(folder, "b"), after);
  try {
    execFileSync("git", ["diff", "--no-index", "--no-color", "a", "b"], { cwd: folder });
    return "";
  } catch (error) {
    return String((error as { stdout: Buffer }).stdout);
  }
}

const lines = (count: number, changed: Record<number, string> = {}) =>
  Array.from({ length: count }, (_, index) => changed[index] ?? `line ${index}`).join("\n");

test.each([
  ["a\nb\nc\n", "a\nB\nc\n"],
  ["", "new\n"],
  ["gone\n", ""],
  ["a\nb", "a\nb\n"],
  ["a\nb\n", "a\nb"],
  ["a\nb", "a\nc"],
  ["a\nb\n", "a\nc"],
  ["one\r\ntwo\r\n", "one\r\n2\r\n"],
  ["\n\n", "\n"],
  ["x\n", "\n\nx\n\n"],
  [lines(60), lines(60, { 3: "three", 40: "forty\nand more" })],
  [`${lines(60, { 0: "first" })}\n`, `${lines(60, { 59: "last" })}\n`],
  ["+ plus\n- minus\n", "- minus\n+ plus\n@@ -1 +1 @@\n"],
])("%j comes out of %j again", (before, after) => {
  expect(unpatched(after, patchOf(before, after))).toBe(before);
});

test("another text than the patch made is told", () => {
  expect(unpatched("a\nX\nc\n", patchOf("a\nb\nc\n", "a\nB\nc\n"))).toBeNull();
});
