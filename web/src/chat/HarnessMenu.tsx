import * as Radix from "@radix-ui/react-dropdown-menu";
import { useQuery } from "@tanstack/react-query";
import { systemQuery } from "../api/queries.ts";
import type { Harness } from "../api/threadTypes.ts";
import type { Agent } from "../api/types.ts";
import { Choice, ChoiceMenu } from "./ChoiceMenu.tsx";

type Props = { agent: Agent; chosen: Harness; onHarness: (harness: Harness) => void };

const TITLES: Record<Harness, string> = {
  decopilot: "Limpet's own agent",
  "claude-code": "Claude Code",
  acp: "Agent of your choice",
};

/** Who drives the model from the next message on; nothing where the server knows of one alone. */
export function HarnessMenu({ agent, chosen, onHarness }: Props) {
  const { data: system } = useQuery(systemQuery);
  const known = (system?.harnesses ?? []).filter(isHarness);
  if (known.length < 2) return null;
  const command = agent.metadata.acp_command;
  const missing = (harness: Harness) => harness === "acp" && !command;
  return (
    <ChoiceMenu label={`Driven by ${TITLES[chosen]}; choose another`} shown={TITLES[chosen]}>
      <Radix.RadioGroup
        value={chosen}
        onValueChange={(value) => {
          if (isHarness(value)) onHarness(value);
        }}
      >
        <Radix.Label className="px-3 pt-1.5 pb-1 text-xs text-muted">Who works on it</Radix.Label>
        {known.map((harness) => (
          <Choice
            key={harness}
            value={harness}
            label={TITLES[harness]}
            disabled={missing(harness)}
            {...(harness === "acp" && {
              detail:
                command ??
                "Set this agent's acp_command first, the command of one that speaks the Agent Client Protocol.",
            })}
          />
        ))}
      </Radix.RadioGroup>
    </ChoiceMenu>
  );
}

const isHarness = (name: string): name is Harness => Object.hasOwn(TITLES, name);
