import { Link } from "@tanstack/react-router";
import { saveWords } from "../agent/saveState.ts";
import { StateDot } from "../agent/StateDot.tsx";
import { stateWords } from "../agent/stateWords.ts";
import { Whereabouts } from "../agent/Whereabouts.tsx";
import { ORG } from "../api/queries.ts";
import type { Agent, Sandbox } from "../api/types.ts";
import { useNow } from "../ui/useNow.ts";
import { byRecency } from "./recency.ts";

/** Every agent, the one that was busy last first, with how it is and where its work stands. */
export function AgentList({ agents, boxes }: { agents: Agent[]; boxes: Sandbox[] }) {
  return (
    <ul className="divide-y divide-line overflow-hidden rounded-3xl border border-line bg-raised">
      {byRecency(agents, boxes).map(({ agent, box }) => (
        <Row key={agent.id} agent={agent} box={box} />
      ))}
    </ul>
  );
}

function Row({ agent, box }: { agent: Agent; box: Sandbox | null }) {
  const state = stateWords(box);
  const saved = saveWords(box, useNow());
  return (
    <li>
      <Link
        to="/$org/agents/$agentId"
        params={{ org: ORG, agentId: agent.id }}
        className="flex flex-wrap items-center gap-x-4 gap-y-1 px-6 py-4 transition hover:bg-sunken focus-visible:-outline-offset-2"
      >
        <span className="min-w-0 flex-1 basis-56">
          <span className="block truncate font-medium">{agent.title}</span>
          <span className="flex items-center gap-1.5 text-sm text-muted">
            <StateDot tone={state.tone} />
            <span className="shrink-0">{state.text}</span>
            <span className="truncate font-mono text-xs">{agent.default_branch}</span>
          </span>
        </span>
        {saved.text && (
          <span className="flex min-w-0 items-center gap-2 text-sm text-muted tabular-nums">
            <Whereabouts where={saved.where} />
            <span className="truncate">{saved.text}</span>
          </span>
        )}
      </Link>
    </li>
  );
}
