import * as Radix from "@radix-ui/react-dropdown-menu";
import { useQuery } from "@tanstack/react-query";
import { OWN_PROGRAM } from "../agent/views.ts";
import { systemQuery } from "../api/queries.ts";
import type { Harness } from "../api/threadTypes.ts";
import type { Agent } from "../api/types.ts";
import { Link } from "@tanstack/react-router";
import { Choice, ChoiceMenu } from "./ChoiceMenu.tsx";

type Props = { agent: Agent; chosen: Harness; onHarness: (harness: Harness) => void };

const TITLES: Record<Harness, string> = {
  decopilot: "Limpet's own agent",
  "claude-code": "Claude Code",
  acp: "Agent of your choice",
};

const DETAILS: Partial<Record<Harness, string>> = {
  decopilot: "With any model that is set up.",
  "claude-code": "Runs in the sandbox, with a model of Anthropic's.",
};

/** Who drives the model from the next message on; nothing where the server knows of one alone. */
export function HarnessMenu({ agent, chosen, onHarness }: Props) {
  const { data: system } = useQuery(systemQuery);
  const known = (system?.harnesses ?? []).filter(isHarness);
  if (known.length < 2) return null;
  const command = agent.metadata.acp_command;
  const detailOf = (harness: Harness) =>
    harness === "acp" ? (command ?? "No command is set yet.") : DETAILS[harness];
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
            detail={detailOf(harness)}
            disabled={missing(harness)}
          />
        ))}
      </Radix.RadioGroup>
      {known.some(missing) && (
        <Radix.Item asChild>
          <Link
            to="."
            search={(now) => ({ ...now, main: "settings" as const })}
            hash={OWN_PROGRAM}
            hashScrollIntoView={false}
            className="block cursor-pointer rounded-xl py-1.5 pr-3 pl-9.5 text-xs text-sea underline underline-offset-4 outline-none data-highlighted:bg-sunken"
          >
            Set its command in the settings
          </Link>
        </Radix.Item>
      )}
    </ChoiceMenu>
  );
}

const isHarness = (name: string): name is Harness => Object.hasOwn(TITLES, name);
