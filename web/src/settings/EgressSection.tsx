import { useState } from "react";
import { useChangeAgent } from "../api/queries.ts";
import { area } from "../ui/field.ts";
import { Section, SettingsForm, textOf } from "./Section.tsx";
import type { OfAgent } from "./SettingsPane.tsx";

type Mode = "default" | OfAgent["agent"]["egress"]["mode"];
const MODES: [Mode, string, string][] = [
  ["default", "As this server has it", "What the operator chose for all agents."],
  ["open", "Open", "Everything but what no sandbox may reach."],
  ["listed", "Listed", "Only the hosts below, and its own clone URL."],
  ["closed", "Closed", "Nothing."],
];

/** Where its sandboxes may connect to. */
export function EgressSection({ agent }: OfAgent) {
  const { egress } = agent;
  const change = useChangeAgent(agent.id);
  const [mode, setMode] = useState<Mode>(egress.is_default ? "default" : egress.mode);
  return (
    <Section
      title="Network"
      explanation="Where its sandboxes may connect to. Counts from their next start on."
    >
      <SettingsForm
        change={change}
        done="Kept, for the next start."
        onSave={(said) =>
          change.mutate({
            egress:
              mode === "default"
                ? null
                : {
                    mode,
                    hosts: mode === "listed" ? textOf(said, "hosts").split(/[\s,]+/).filter(Boolean) : [],
                    registries: mode === "listed" ? said.has("registries") : true,
                  },
          })
        }
      >
        <fieldset className="space-y-2.5">
          <legend className="sr-only">Connections</legend>
          {MODES.map(([value, label, explanation]) => (
            <label key={value} className="flex gap-3">
              <input
                type="radio"
                name="mode"
                value={value}
                checked={mode === value}
                onChange={() => setMode(value)}
                className="mt-1 size-4 accent-sea"
              />
              <span>
                {label}
                <span className="block text-sm font-normal text-muted">
                  {explanation}
                  {value === "default" && egress.is_default && ` Now: ${egress.mode}.`}
                </span>
              </span>
            </label>
          ))}
        </fieldset>
        {mode === "listed" && (
          <div className="space-y-3 border-l-2 border-line pl-4">
            <label className="block">
              Hosts, one a line
              <textarea
                name="hosts"
                rows={4}
                defaultValue={egress.hosts.join("\n")}
                placeholder={"api.example.com\n*.example.org\n10.0.0.7:5432"}
                spellCheck={false}
                autoCapitalize="off"
                className={`${area} font-mono text-sm`}
              />
            </label>
            <label className="flex items-center gap-2.5">
              <input type="checkbox" name="registries" defaultChecked={egress.registries} className="size-4 accent-sea" />
              And where package managers install from
            </label>
          </div>
        )}
      </SettingsForm>
    </Section>
  );
}
