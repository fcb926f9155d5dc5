import { expect, test } from "vitest";
import type { Sandbox, Snapshot } from "../api/types.ts";
import { saveWords } from "./saveState.ts";

const now = Date.parse("2026-01-01T12:00:12Z");
const saved = { created_at: "2026-01-01T12:00:00Z" } as Snapshot;
const box = (said: Partial<Sandbox>) =>
  ({
    saving: false,
    unsaved: false,
    detached: false,
    last_save: null,
    last_save_error: null,
    ...said,
  }) as Sandbox;

test.each([
  [box({ last_save: saved }), "Saved 12 s ago", "home"],
  [box({ last_save: saved, unsaved: true }), "Unsaved work", "roaming"],
  [box({ unsaved: true }), "Unsaved work", "roaming"],
  [box({ saving: true, unsaved: true }), "Saving…", "saving"],
  [box({}), "Nothing to save yet", "none"],
  [box({ detached: true, last_save: saved }), "Saved aside", "aside"],
  [box({ detached: true, unsaved: true }), "Unsaved work, kept aside", "aside"],
  [
    box({ last_save_error: { code: "no_space", message: "The disk is full", hint: "" } }),
    "Not saved: The disk is full",
    "failed",
  ],
])("says where the work stands", (given, text, where) => {
  expect(saveWords(given, now)).toMatchObject({ text, where });
});

test("a save that failed says why, and that it is tried again", () => {
  const last_save_error = { code: "no_space", message: "The disk is full.", hint: "Make room." };
  const { detail } = saveWords(box({ last_save: saved, last_save_error }), now);
  expect(detail).toBe(
    "The disk is full. Make room. The last snapshot was made 12 s ago. It is tried again by itself.",
  );
});

test("there is nothing to say of a sandbox that never was", () => {
  expect(saveWords(null, now).text).toBe("");
});
