import { expect, test } from "vitest";
import type { Sandbox } from "../api/types.ts";
import { endWords } from "./endWords.ts";

type Ended = NonNullable<Sandbox["ended"]>;
const at = "2026-01-01T00:00:00Z";
const now = Date.parse(at) + 3 * 60_000;
const words = (said: Partial<Ended>) =>
  endWords({ ended: { reason: "asked", at, by: "owner", through: null, ...said } } as Sandbox, now);

test("who stopped it is said, and when", () => {
  expect(words({ through: "session" })).toBe("Stopped 3 min ago in a browser.");
  expect(words({ through: "api-key" })).toBe("Stopped 3 min ago by a program or from the command line.");
  expect(words({})).toBe("Stopped 3 min ago.");
});

test("an end that nobody wanted is told from one that was asked for", () => {
  expect(words({ reason: "gone" })).toMatch(/^It ended by itself, noticed 3 min ago/);
  expect(words({ reason: "interrupted" })).toBe("The server ended while it was starting, 3 min ago.");
});

test("of one that never ran there is nothing to tell", () => {
  expect(endWords(null, now)).toBeNull();
  expect(endWords(undefined, now)).toBeNull();
  expect(endWords({ ended: null } as Sandbox, now)).toBeNull();
});
