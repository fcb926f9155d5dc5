import { expect, test } from "vitest";
import { linesWith, settled } from "./lines.ts";

test("a line that is written over shows as it ended", () => {
  expect(settled("10 %\r50 %\rdone\nnext\r\nlast\r")).toBe("done\nnext\nlast");
});

test("colours stay, movements and titles go", () => {
  expect(settled("\u001b[2J\u001b[1;1H\u001b]0;title\u0007\u001b[32mok\u001b[0m")).toBe(
    "\u001b[32mok\u001b[0m",
  );
});

test("a cleared screen leaves no hole", () => {
  expect(settled("one\r\n\r\n\r\n\r\n\u001b[1;1H\u001b[0Jtwo\n\n\nthree")).toBe("one\ntwo\n\n\nthree");
});

test("lines are found whatever their case and colours", () => {
  expect(linesWith("a\n\u001b[31mErr\u001b[0mor: b\nc", "error")).toContain("or: b");
  expect(linesWith("a\nb", "c")).toBe("No line has that.");
});
