import { expect, test } from "vitest";
import { lasted, spoken, titleOf, usageDetail, usageWords } from "./words.ts";

const usage = { requests: 3, input_tokens: 12_000, output_tokens: 300, cache_read_tokens: 0, cost_usd: 0.031 };

test("what a turn took is said in a few words, and its price only where it is known", () => {
  expect(usageWords(usage)).toBe("12.3k tokens · $0.03");
  expect(usageWords({ ...usage, cost_usd: 0.0004 })).toBe("12.3k tokens · $0.0004");
  expect(usageWords({ ...usage, input_tokens: 1, output_tokens: 2, cost_usd: null })).toBe("3 tokens");
  expect(usageWords({ ...usage, input_tokens: 1_999_000, cost_usd: null })).toBe("2.0M tokens");
  expect(usageDetail({ ...usage, cache_read_tokens: 7, cost_usd: null })).toBe(
    "3 requests, 12000 tokens in, 7 of them cached, 300 out; the price of this model is not known",
  );
});

test.each([
  ["2026-01-01T00:00:04Z", "4 s"],
  ["2026-01-01T00:02:05Z", "2 min 5 s"],
  ["2026-01-01T00:03:00Z", "3 min"],
  ["2025-12-31T23:59:59Z", "0 s"],
])("until %s it lasted %s", (end, words) => expect(lasted("2026-01-01T00:00:00Z", end)).toBe(words));

test("what is read aloud has no marks and no code", () => {
  expect(spoken("## Done\n\nIt is **dark** now:\n\n```css\nbody {}\n```\n`ok`")).toBe(
    "Done It is dark now: (code) ok",
  );
  expect(spoken("> see [the rules](https://x.y/z)\n\n|a|b|\n|-|-:|\n|1|2|\n\n<b>")).toBe(
    "see the rules a b 1 2 <b>",
  );
});

test("a conversation without a title is a new one", () => {
  expect(titleOf({ title: "" })).toBe("New conversation");
});
