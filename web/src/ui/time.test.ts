import { expect, test } from "vitest";
import { ago, clock, size } from "./time.ts";

const now = Date.parse("2026-01-03T00:00:00Z");

test.each([
  ["2026-01-02T23:59:48Z", "12 s ago"],
  ["2026-01-02T23:55:00Z", "5 min ago"],
  ["2026-01-02T21:00:00Z", "3 h ago"],
  ["2026-01-01T00:00:00Z", "2 d ago"],
  ["2026-01-03T00:00:05Z", "0 s ago"],
])("%s was %s", (moment, words) => expect(ago(moment, now)).toBe(words));

test("clocks and sizes read well", () => {
  expect(clock(67.9)).toBe("1:07");
  expect(size(812)).toBe("812 B");
  expect(size(3_400_000)).toBe("3.4 MB");
});
