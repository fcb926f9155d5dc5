import { expect, test } from "vitest";
import { type Command, found } from "./commands.ts";

const command = (group: string, label: string, detail?: string): Command => ({
  id: `${group} ${label}`,
  group,
  label,
  detail,
  icon: "open",
  run: () => {},
});
const all = [
  command("Agents", "Rock pool", "limpet/dark-bay"),
  command("Agents", "Tide table", "limpet/calm-cove"),
  command("Views", "Preview"),
  command("Actions", "Save now", "a snapshot of the table"),
];
const labels = (typed: string) => found(all, typed).map(({ label }) => label);

test("without words everything is there, in its order", () => {
  expect(labels(" ")).toEqual(["Rock pool", "Tide table", "Preview", "Save now"]);
});

test("every word must be there, whatever its case, in the label or beside it", () => {
  expect(labels("TABLE tide")).toEqual(["Tide table"]);
  expect(labels("cove")).toEqual(["Tide table"]);
  expect(labels("table")).toEqual(["Tide table", "Save now"]);
  expect(labels("nothing")).toEqual([]);
});

test("what begins with the word comes before what has it somewhere", () => {
  const agents = ["Hotpot", "My pot", "Pottery"].map((label) => command("Agents", label));
  expect(found(agents, "pot").map(({ label }) => label)).toEqual(["Pottery", "My pot", "Hotpot"]);
});
