import { useDeleteMcpServer, useLastMcpTest } from "../api/mcpServers.ts";
import type { McpServer, McpServerTested } from "../api/types.ts";
import { Button } from "../ui/Button.tsx";
import { Confirm } from "../ui/Confirm.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { ago } from "../ui/time.ts";
import { useNow } from "../ui/useNow.ts";

type Props = { agentId: string; server: McpServer; onTest: () => void; onChange: () => void };

/** One server: what is known of it, whether it answered, and what can be done with it. */
export function McpServerRow({ agentId, server, onTest, onChange }: Props) {
  const tested = useLastMcpTest(agentId, server.name);
  const remove = useDeleteMcpServer(agentId);
  const now = useNow();
  const asking = tested?.status === "pending";
  const { name, url, header_names: headers } = server;
  return (
    <li className="p-3.5">
      <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
        <div className="min-w-0 flex-1 basis-56">
          <p className="font-mono text-sm font-medium">{name}</p>
          <p className="text-sm break-all text-muted">{url}</p>
          <p className="text-xs text-muted">
            {headers.length > 0 ? `sends ${headers.join(", ")}` : "sends no header of yours"} · set{" "}
            {ago(server.updated_at, now)} by {server.updated_by}
          </p>
        </div>
        <div className="-ml-4 flex flex-wrap">
          <Button look="quiet" disabled={asking} onClick={onTest}>
            {asking ? "Asking it…" : "Try it"} <span className="sr-only">{name}</span>
          </Button>
          <Button look="quiet" onClick={onChange}>
            Change <span className="sr-only">{name}</span>
          </Button>
          <Confirm
            look="quiet"
            label={
              <>
                Remove <span className="sr-only">{name}</span>
              </>
            }
            title={`Remove ${name}?`}
            explanation="Its headers are forgotten, and the agent has its tools no more from the next message on."
            action="Remove it"
            dangerous
            disabled={remove.isPending}
            onConfirm={() => remove.mutate(name)}
          />
        </div>
      </div>
      {!asking && tested?.data && <Tested tested={tested.data} />}
      <ErrorText error={(!asking && tested?.error) || remove.error} />
    </li>
  );
}

function Tested({ tested: { ok, tools, problem } }: { tested: McpServerTested }) {
  if (!ok) {
    return (
      <output className="mt-2 block text-sm text-bad">
        {problem?.message}
        <span className="block text-muted">{problem?.hint}</span>
      </output>
    );
  }
  return (
    <div className="mt-2 text-sm">
      <output className="block text-good">
        {tools.length === 0
          ? "It answers, and offers no tools."
          : `It answers, with ${tools.length} ${tools.length === 1 ? "tool" : "tools"}.`}
      </output>
      {tools.length > 0 && (
        <details>
          <summary className="cursor-pointer text-muted">Which</summary>
          <p className="mt-1 font-mono text-xs leading-relaxed break-words">{tools.join(", ")}</p>
        </details>
      )}
    </div>
  );
}
