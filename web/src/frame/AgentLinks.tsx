import { Link } from "@tanstack/react-router";
import { useId } from "react";
import { StateDot } from "../agent/StateDot.tsx";
import { stateWords } from "../agent/stateWords.ts";
import { ORG } from "../api/queries.ts";
import type { Agent, Sandbox } from "../api/types.ts";

type Props = {
  title: string;
  agents: { agent: Agent; box: Sandbox | null }[];
  onLeave?: () => void;
};

/** Agents by name, each with how its sandbox is; nothing where there are none. */
export function AgentLinks({ title, agents, onLeave }: Props) {
  const id = useId();
  if (agents.length === 0) return null;
  return (
    <section aria-labelledby={id}>
      <h2 id={id} className="px-2.5 pb-1 text-xs font-medium text-muted">
        {title}
      </h2>
      <ul className="space-y-0.5">
        {agents.map(({ agent, box }) => {
          const state = stateWords(box);
          return (
            <li key={agent.id}>
              <Link
                to="/$org/agents/$agentId"
                params={{ org: ORG, agentId: agent.id }}
                activeOptions={{ includeSearch: false }}
                onClick={onLeave}
                title={`${agent.title}: ${state.text}`}
                className="flex h-9 items-center gap-2.5 rounded-xl px-2.5 text-sm hover:bg-sunken aria-[current=page]:bg-sea-wash aria-[current=page]:text-sea"
              >
                <StateDot tone={state.tone} />
                <span className="truncate">{agent.title}</span>
                <span className="sr-only">, {state.text}</span>
              </Link>
            </li>
          );
        })}
      </ul>
    </section>
  );
}
