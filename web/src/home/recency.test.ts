import { expect, test } from "vitest";
import type { Agent, Sandbox } from "../api/types.ts";
import { greeting } from "./greeting.ts";
import { byRecency } from "./recency.ts";

const agent = (id: string, created_at: string) => ({ id, created_at, default_branch: "b" }) as Agent;

test("the agent that was busy last comes first, with the sandbox of its own branch", () => {
  const agents = [agent("new", "2026-03-01T00:00:00Z"), agent("old", "2026-01-01T00:00:00Z")];
  const other = { agent_id: "new", branch: "other" } as Sandbox;
  const box = { agent_id: "old", branch: "b", started_at: "2026-04-01T00:00:00Z" } as Sandbox;
  expect(byRecency(agents, [other, box]).map((one) => [one.agent.id, one.box])).toEqual([
    ["old", box],
    ["new", null],
  ]);
});

test.each([
  [3, "Still up?"],
  [9, "Good morning."],
  [13, "Good afternoon."],
  [22, "Good evening."],
])("at %i it says %s", (hour, words) => expect(greeting(hour)).toBe(words));
