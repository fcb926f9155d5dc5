import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { saveWords } from "../agent/saveState.ts";
import { StateDot } from "../agent/StateDot.tsx";
import { stateWords } from "../agent/stateWords.ts";
import { Whereabouts } from "../agent/Whereabouts.tsx";
import { ORG } from "../api/queries.ts";
import type { Agent, Sandbox } from "../api/types.ts";
import { Button } from "../ui/Button.tsx";
import { useNow } from "../ui/useNow.ts";
import { byRecency } from "./recency.ts";
import { Thumbnail } from "./Thumbnail.tsx";

const AT_FIRST = 9;

/** The agents, the one that was busy last first, with how each is and where its work stands. */
export function AgentList({ agents, boxes }: { agents: Agent[]; boxes: Sandbox[] }) {
  const [all, setAll] = useState(false);
  const sorted = byRecency(agents, boxes);
  const shown = all ? sorted : sorted.slice(0, AT_FIRST);
  return (
    <>
      <ul className="grid gap-4 sm:grid-cols-2 lg:grid-cols-3">
        {shown.map(({ agent, box }) => (
          <Card key={agent.id} agent={agent} box={box} />
        ))}
      </ul>
      {shown.length < sorted.length && (
        <Button className="mt-5" onClick={() => setAll(true)}>
          All {sorted.length} agents
        </Button>
      )}
    </>
  );
}

function Card({ agent, box }: { agent: Agent; box: Sandbox | null }) {
  const state = stateWords(box);
  const saved = saveWords(box, useNow());
  return (
    <li>
      <Link
        to="/$org/agents/$agentId"
        params={{ org: ORG, agentId: agent.id }}
        className="block overflow-hidden rounded-3xl border border-line bg-raised transition hover:border-sea focus-visible:rounded-3xl"
      >
        <span className="block aspect-video border-b border-line">
          <Thumbnail agent={agent} />
        </span>
        <span className="block space-y-1 px-4 py-3.5">
          <span className="block truncate font-medium">{agent.title}</span>
          <span className="flex items-center gap-1.5 text-sm text-muted">
            <StateDot tone={state.tone} />
            <span className="shrink-0">{state.text}</span>
            <span className="truncate font-mono text-xs">{agent.default_branch}</span>
          </span>
          <span className="flex h-5 min-w-0 items-center gap-2 text-sm text-muted tabular-nums">
            {saved.text && (
              <>
                <Whereabouts where={saved.where} />
                <span className="truncate">{saved.text}</span>
              </>
            )}
          </span>
        </span>
      </Link>
    </li>
  );
}
