import { useQuery } from "@tanstack/react-query";
import { secretsQuery } from "../api/queries.ts";
import type { Agent } from "../api/types.ts";
import { Button } from "../ui/Button.tsx";
import { Dialog } from "../ui/Dialog.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { SecretForm } from "./SecretForm.tsx";
import { SecretList } from "./SecretList.tsx";

type Props = { agent: Agent; open: boolean; onClose: () => void };

/** The variables that an agent's tasks have: their names, and a way to set others. */
export function SecretsDialog({ agent, open, onClose }: Props) {
  return (
    <Dialog
      open={open}
      onClose={onClose}
      title="Secrets"
      explanation="Environment variables for everything that runs in its sandboxes. Values are sealed, and never shown again."
    >
      <Opened agentId={agent.id} />
      <div className="mt-6 flex justify-end">
        <Button look="quiet" onClick={onClose}>
          Close
        </Button>
      </div>
    </Dialog>
  );
}

function Opened({ agentId }: { agentId: string }) {
  const { data: secrets, error } = useQuery(secretsQuery(agentId));
  return (
    <div className="space-y-6">
      <ErrorText error={error} />
      {secrets && <SecretList agentId={agentId} secrets={secrets} />}
      <SecretForm agentId={agentId} />
    </div>
  );
}
