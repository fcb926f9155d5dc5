import { useQuery } from "@tanstack/react-query";
import { retentionQuery, useSetRetention } from "../api/store.ts";
import { Button } from "../ui/Button.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { field } from "../ui/field.ts";
import { SettingsForm, textOf } from "./Section.tsx";

const FIELDS = [
  { name: "last", label: "The last", unit: "snapshots", least: 1 },
  { name: "hours", label: "One an hour, for", unit: "hours", least: 0 },
  { name: "days", label: "One a day, for", unit: "days", least: 0 },
  { name: "turns", label: "Of agents' turns", unit: "the last", least: 0 },
] as const;
const SOURCES = { server: "as this server has it", org: "as all agents have it", agent: "its own" };

/** How many snapshots are kept: of an agent, or without one of all that say nothing of their own. */
export function RetentionForm({ agentId }: { agentId?: string }) {
  const { data: kept, error } = useQuery(retentionQuery(agentId));
  const change = useSetRetention(agentId);
  if (!kept) return error ? <ErrorText error={error} /> : <p className="text-muted">Looking…</p>;
  const own = kept.source === (agentId ? "agent" : "org");
  return (
    <SettingsForm
      // What the server says now stands in the fields, also after going back to the default.
      key={`${kept.last} ${kept.hours} ${kept.days} ${kept.turns} ${kept.source}`}
      change={change}
      done="Kept, from the next clean-up on."
      onSave={(said) =>
        change.mutate({
          last: Number(textOf(said, "last")),
          hours: Number(textOf(said, "hours")),
          days: Number(textOf(said, "days")),
          turns: Number(textOf(said, "turns")),
        })
      }
      beside={
        own && (
          <Button look="quiet" disabled={change.isPending} onClick={() => change.mutate({ reset: true })}>
            Back to the default
          </Button>
        )
      }
    >
      <div className="grid gap-4 sm:grid-cols-2 xl:grid-cols-4">
        {FIELDS.map(({ name, label, unit, least }) => (
          <label key={name} className="block">
            {label} <span className="font-normal text-muted">({unit})</span>
            <input
              name={name}
              type="number"
              required
              min={least}
              defaultValue={kept[name]}
              className={`${field} tabular-nums`}
            />
          </label>
        ))}
      </div>
      <p className="text-sm font-normal text-muted">Now: {agentId || !own ? SOURCES[kept.source] : "of this organisation"}.</p>
    </SettingsForm>
  );
}
