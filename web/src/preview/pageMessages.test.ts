import { expect, test } from "vitest";
import { askToMend, pageMessage, wantsStorage } from "./pageMessages.ts";

test("the page tells where it is", () => {
  expect(pageMessage({ type: "limpet:navigation", path: "/about?x=1" })).toEqual({
    kind: "navigated",
    path: "/about?x=1",
  });
  expect(pageMessage({ type: "limpet:navigation", path: "javascript:alert(1)" })).toBeNull();
});

test("its errors become lines of a log, bounded", () => {
  const message = pageMessage({ type: "limpet:error", text: "x".repeat(9000) });
  expect(message?.kind === "said" && message.line.length).toBeLessThan(2100);
});

test("errors are told apart from warnings, and their text is without colours", () => {
  expect(pageMessage({ type: "limpet:console", level: "error", text: "no" })).toMatchObject({
    isError: true,
    text: "no",
  });
  expect(pageMessage({ type: "limpet:console", level: "warn", text: "hm" })).toMatchObject({ isError: false });
});

test("what others say is passed over", () => {
  for (const data of [null, "hi", 7, {}, { type: "other" }, { type: 3 }]) {
    expect(pageMessage(data)).toBeNull();
  }
});

test("an agent is asked about the newest errors, each once, whatever marks are in them", () => {
  const asked = askToMend(["old", "a", "b", "c", "```d", "e", "e"]);
  expect(asked).toContain("\n````\na\nb\nc\n```d\ne\n````\n");
  expect(askToMend(["x".repeat(9000)]).length).toBeLessThan(800);
});

test("storage that the browser denies is recognised", () => {
  expect(
    wantsStorage(
      "Failed to read the 'localStorage' property from 'Window': Access is denied for this document.",
    ),
  ).toBe(true);
  expect(wantsStorage("localStorage is fun")).toBe(false);
});

test("a page that may not be seen says so", () => {
  const url = "http://calm-cove-1.localhost:1/";
  expect(pageMessage({ type: "limpet:private", url })).toEqual({ kind: "private", url });
  expect(pageMessage({ type: "limpet:private" })).toEqual({ kind: "private", url: "" });
});
