import { useNavigate } from "@tanstack/react-router";
import { useDeleteAgent } from "../api/queries.ts";
import { Confirm } from "../ui/Confirm.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Section } from "./Section.tsx";
import type { OfAgent } from "./SettingsPane.tsx";

/** The end of an agent, after a question. */
export function DeleteAgent({ agent }: OfAgent) {
  const remove = useDeleteAgent();
  const navigate = useNavigate();
  return (
    <Section title="Delete" explanation="Its sandboxes end, their files go, and its snapshots are deleted after a grace of 24 hours.">
      <Confirm
        look="danger"
        label={remove.isPending ? "Deleting it…" : "Delete this agent…"}
        disabled={remove.isPending}
        title={`Delete ${agent.title}?`}
        explanation="Its sandboxes end, their files go, and its snapshots are deleted after a grace. This cannot be undone here."
        action="Delete it"
        dangerous
        onConfirm={() => remove.mutate(agent.id, { onSuccess: () => navigate({ to: "/" }) })}
      />
      <div className="mt-3">
        <ErrorText error={remove.error} />
      </div>
    </Section>
  );
}
