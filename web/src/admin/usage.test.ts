import { expect, test } from "vitest";
import { savingWords, usageBars } from "./usage.ts";

const usage = { logical_bytes: 10_000_000, stored_bytes: 2_000_000, shared_bytes: 500_000, condemned_bytes: 300_000 };

test("what is going to be deleted is part of what is stored, and counted once", () => {
  const [files, store] = usageBars(usage);
  expect(files?.parts.map(({ bytes }) => bytes)).toEqual([10_000_000]);
  expect(store?.parts.map(({ bytes }) => bytes)).toEqual([1_700_000, 300_000, 500_000]);
});

test("a saving is said only where there is one", () => {
  expect(savingWords(usage)).toBe("10.0 MB of files take 2.0 MB: 80 % are saved");
  expect(savingWords({ ...usage, stored_bytes: 20_000 })).toBe("10.0 MB of files take 20.0 kB: 99.8 % are saved");
  expect(savingWords({ ...usage, stored_bytes: 11_000_000 })).toContain("nothing is saved by sharing yet");
  expect(savingWords({ ...usage, logical_bytes: 0 })).toBe("0 B of files, 2.0 MB stored");
});
