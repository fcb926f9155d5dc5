import { expect, test } from "vitest";
import { isOfPreview, isOfThisMachine, wayTo } from "./addresses.ts";

test.each([
  ["http://calm-cove-1.localhost:7070/about", true],
  ["http://localhost:41233/", true],
  ["http://127.0.0.1:7070/", true],
  ["http://[::1]:7070/", true],
  ["https://calm-cove-1.preview.example.com/", false],
  ["https://localhost.example.com/", false],
])("%s leads to this machine only: %s", (address, own) => {
  expect(isOfThisMachine(address)).toBe(own);
});

test("a private preview is opened by way of the app, whatever its address holds", () => {
  const address = "http://calm-cove-1.localhost:7070/a?b=1&c=/open#top";
  expect(wayTo(address, false)).toBe(address);
  const way = new URL(wayTo(address, true), "http://127.0.0.1:7070");
  expect([way.pathname, way.searchParams.get("to")]).toEqual(["/open-preview", address]);
});

const OWN = "http://calm-cove-1.localhost:7070/";
test.each([
  ["http://calm-cove-1.localhost:7070/about?x#y", true],
  ["http://calm-cove-1--3000.localhost:7070/", true],
  ["http://calm-cove-1--3000.localhost:9/", false],
  ["http://calm-cove-2.localhost:7070/", false],
  ["https://calm-cove-1.localhost:7070/", false],
  ["http://calm-cove-1--3000.evil.example:7070/", false],
  ["javascript:alert(1)", false],
  ["no address", false],
])("%s is of the preview: %s", (address, own) => {
  expect(isOfPreview(address, OWN, "calm-cove-1")).toBe(own);
});
