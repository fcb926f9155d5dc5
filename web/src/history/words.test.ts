import { expect, test } from "vitest";
import { receipt } from "../test/agent.ts";
import { receiptLines, receiptRemarks, receiptWords } from "./words.ts";

test("complete is said only of what is", () => {
  expect(receiptWords(receipt)).toBe("Complete and verified");
  expect(receiptWords({ ...receipt, complete: false, incomplete_because: ["a", "b"] })).toBe(
    "Not complete: a; b",
  );
  expect(receiptWords(null)).toBe("No receipt");
});

test("the lines say how much, and what was not carried", () => {
  expect(receiptLines({ ...receipt, dropped: { xattr: 3, acl: 0 } })).toEqual([
    ["Contents", "12,345 files, 1 entry"],
    ["Size", "3.4 MB of files, 4.0 MB stored"],
    ["Took", "1.2 s"],
    ["Not carried", "3 xattr"],
  ]);
});

test("paths are listed, and those that were too many are counted", () => {
  const torn = [{ path: "a", reason: "changed" }];
  expect(receiptRemarks({ ...receipt, torn, counts: { torn: 5 } })).toEqual([
    { title: "Changed while they were read", remarks: torn, more: 4 },
  ]);
  const ignored = [{ path: "repo/data", reason: "/repo/data/ in .limpetignore, line 1" }];
  expect(receiptRemarks({ ...receipt, ignored, counts: { ignored: 2 } })).toEqual([
    { title: "Left out by .limpetignore", remarks: ignored, more: 1 },
  ]);
});
