import { Link } from "@tanstack/react-router";
import { saveWords } from "../agent/saveState.ts";
import { ORG } from "../api/queries.ts";
import type { Agent, Sandbox } from "../api/types.ts";
import { useNow } from "../ui/useNow.ts";

const dots: Record<string, string> = {
  running: "bg-good",
  starting: "bg-sea animate-pulse",
  stopping: "bg-sea animate-pulse",
  failed: "bg-bad",
  stopped: "bg-line",
};

/** Every agent, with how its sandbox is and where its work stands. */
export function AgentList({ agents, boxes }: { agents: Agent[]; boxes: Sandbox[] }) {
  const now = useNow();
  return (
    <ul className="divide-y divide-line rounded-2xl border border-line bg-raised">
      {agents.map((agent) => {
        const box = boxes.find((one) => one.agent_id === agent.id);
        const state = box?.state ?? "stopped";
        return (
          <li key={agent.id}>
            <Link
              to="/$org/agents/$agentId"
              params={{ org: ORG, agentId: agent.id }}
              className="flex items-center gap-3 px-5 py-3.5 hover:bg-sunken"
            >
              <span aria-hidden="true" className={`size-2 shrink-0 rounded-full ${dots[state]}`} />
              <span className="min-w-0 flex-1">
                <span className="block truncate font-medium">{agent.title}</span>
                <span className="block truncate text-xs text-muted">
                  {box ? state : "never started"} · {agent.metadata.clone_url ?? agent.description}
                </span>
              </span>
              <span className="shrink-0 text-xs text-muted">{saveWords(box, now).text}</span>
            </Link>
          </li>
        );
      })}
    </ul>
  );
}
