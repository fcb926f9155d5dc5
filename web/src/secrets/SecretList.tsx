import { useDeleteSecret } from "../api/queries.ts";
import type { Secret } from "../api/types.ts";
import { Confirm } from "../ui/Confirm.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Icon } from "../ui/Icon.tsx";
import { ago } from "../ui/time.ts";
import { useNow } from "../ui/useNow.ts";

type Props = { agentId: string; secrets: Secret[] };

/** By name; those of the org are changed elsewhere. */
export function SecretList({ agentId, secrets }: Props) {
  const remove = useDeleteSecret(agentId);
  const now = useNow();
  if (!secrets.length) return <p className="text-muted">None yet.</p>;
  return (
    <>
      <ul aria-label="Secrets" className="divide-y divide-line rounded-2xl border border-line">
        {secrets.map((secret) => (
          <li key={secret.name} className="flex min-h-13 items-center gap-3 py-1.5 pr-1.5 pl-4">
            <div className="min-w-0 flex-1">
              <p className="font-mono text-sm break-all">{secret.name}</p>
              <p className="text-xs text-muted">
                set {ago(secret.updated_at, now)} by {secret.updated_by}
                {secret.agent_id === null && ", for all agents"}
              </p>
            </div>
            {secret.agent_id !== null && (
              <Confirm
                look="quiet"
                size="icon"
                label={
                  <>
                    <Icon name="cross" className="size-4" />
                    <span className="sr-only">Delete {secret.name}</span>
                  </>
                }
                title={`Delete ${secret.name}?`}
                explanation="Its value cannot be had again. What runs already keeps it until it is started again."
                action="Delete it"
                dangerous
                disabled={remove.isPending}
                onConfirm={() => remove.mutate(secret.name)}
              />
            )}
          </li>
        ))}
      </ul>
      <ErrorText error={remove.error} />
    </>
  );
}
