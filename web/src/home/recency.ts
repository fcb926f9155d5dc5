import type { Agent, Sandbox } from "../api/types.ts";

/** Agents with their sandboxes, the one that something happened to last first. */
export function byRecency(agents: Agent[], boxes: Sandbox[]) {
  return agents
    .map((agent) => {
      const box =
        boxes.find((one) => one.agent_id === agent.id && one.branch === agent.default_branch) ?? null;
      const moments = [agent.created_at, box?.started_at, box?.last_save?.created_at];
      return { agent, box, at: Math.max(...moments.map((one) => (one ? Date.parse(one) : 0))) };
    })
    .toSorted((one, other) => other.at - one.at);
}
