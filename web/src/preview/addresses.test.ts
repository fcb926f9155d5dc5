import { expect, test } from "vitest";
import { isOfThisMachine } from "./addresses.ts";

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
