import { expect, test } from "vitest";
import type { Sandbox, Snapshot } from "../api/types.ts";
import { saveWords } from "./saveState.ts";

const now = Date.parse("2026-01-01T12:00:12Z");
const saved = { created_at: "2026-01-01T12:00:00Z" } as Snapshot;
const box = (said: Partial<Sandbox>) =>
  ({ saving: false, unsaved: false, last_save: null, last_save_error: null, ...said }) as Sandbox;

test.each([
  [box({ last_save: saved }), "Saved 12 s ago", "calm"],
  [box({ last_save: saved, unsaved: true }), "Unsaved work, saved 12 s ago", "busy"],
  [box({ unsaved: true }), "Not saved yet", "busy"],
  [box({ saving: true, unsaved: true }), "Saving…", "busy"],
  [box({}), "Nothing to save yet", "calm"],
  [
    box({ last_save_error: { code: "no_space", message: "The disk is full", hint: "" } }),
    "Not saved: The disk is full",
    "bad",
  ],
])("says where the work stands", (given, text, tone) => {
  expect(saveWords(given, now)).toEqual({ text, tone });
});
