import { expect, test } from "vitest";
import type { FileOnDisk } from "../api/insideTypes.ts";
import { difference, lineEnd, meeting } from "./meeting.ts";

const base = { text: "one", etag: "a" };
const disk = (text: string, etag: string): FileOnDisk => ({ kind: "text", text, etag, size: text.length });

test.each([
  ["nothing happened", "one", disk("one", "a"), "same"],
  ["only the edit", "mine", disk("one", "a"), "same"],
  ["only the disk", "one", disk("theirs", "b"), "follow"],
  ["both, to the same", "both", disk("both", "b"), "follow"],
  ["both", "mine", disk("theirs", "b"), "conflict"],
  ["written anew as it was", "mine", disk("one", "b"), "touched"],
  ["deleted", "mine", { kind: "missing" }, "gone"],
  ["no text any more", "mine", { kind: "binary", etag: "b", size: 1 }, "gone"],
] as [string, string, FileOnDisk, string][])("%s", (_, edited, found, met) => {
  expect(meeting(base, edited, found)).toBe(met);
});

test("a file that was never there is not missed", () => {
  expect(meeting({ text: "", etag: null }, "new", { kind: "missing" })).toBe("same");
});

test.each([
  ["abc", "abc"],
  ["abc", "aXc"],
  ["", "new"],
  ["aaa", "aa"],
  ["aa", "aaa"],
  ["one\ntwo\nthree", "one\n2\nthree"],
  ["head", "head tail"],
])("%j becomes %j by one piece", (before, after) => {
  const { from, to, insert } = difference(before, after);
  expect(before.slice(0, from) + insert + before.slice(to)).toBe(after);
});

test("only what is of one mind has Windows' ends of lines", () => {
  expect(["a\r\nb\r\n", "a\nb", "a\r\nb\n", "a\r\nb\rc\r\n", ""].map(lineEnd)).toEqual([
    "\r\n",
    "\n",
    "\n",
    "\n",
    "\n",
  ]);
});
