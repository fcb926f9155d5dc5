import { useQuery } from "@tanstack/react-query";
import type { SandboxView } from "../agent/useSandbox.ts";
import { ApiError } from "../api/client.ts";
import { statusQuery } from "../api/inside.ts";
import type { Place } from "../api/queries.ts";
import type { Agent, Sandbox } from "../api/types.ts";
import { NeedsSandbox } from "../inside/NeedsSandbox.tsx";
import { Button } from "../ui/Button.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { BranchLine } from "./BranchLine.tsx";
import { CommitList } from "./CommitList.tsx";
import { WorkingTree } from "./WorkingTree.tsx";

/** What differs from the last commit, committing and discarding it, and the commits so far. */
export function ChangesPane({ agent, view }: { agent: Agent; view: SandboxView }) {
  return (
    <NeedsSandbox view={view} purpose="What changed since the last commit shows here while it runs.">
      {(handle) => view.box && <Repository key={handle} handle={handle} agent={agent} box={view.box} />}
    </NeedsSandbox>
  );
}

type Props = { handle: string; agent: Agent; box: Sandbox };

function Repository({ handle, agent, box }: Props) {
  const status = useQuery(statusQuery(handle));
  const place: Place = { agentId: agent.id, branch: agent.default_branch };
  if (status.error && !status.data) {
    const none = status.error instanceof ApiError && status.error.status === 409;
    return none ? <NoRepository /> : <Failed error={status.error} onRetry={() => void status.refetch()} />;
  }
  if (!status.data) return <p className="p-6 text-muted">Looking at what changed…</p>;
  return (
    <div className="h-full overflow-auto">
      <div className="mx-auto max-w-3xl space-y-6 p-4 sm:p-8">
        <BranchLine handle={handle} status={status.data} hasRemote={agent.metadata.clone_url !== null} />
        <ErrorText error={status.error} />
        <WorkingTree handle={handle} place={place} box={box} status={status.data} />
        <CommitList handle={handle} />
      </div>
    </div>
  );
}

function NoRepository() {
  return (
    <div className="grid h-full place-items-center overflow-auto p-6">
      <div className="max-w-md text-center">
        <h2 className="font-display text-xl font-semibold">There is no repository yet</h2>
        <p className="mt-2 leading-relaxed text-pretty text-muted">
          It is there once the sandbox has its source. A folder of your own becomes one by{" "}
          <code>git init</code> in a terminal.
        </p>
      </div>
    </div>
  );
}

function Failed({ error, onRetry }: { error: Error; onRetry: () => void }) {
  return (
    <div className="space-y-4 p-6">
      <ErrorText error={error} />
      <Button onClick={onRetry}>Try again</Button>
    </div>
  );
}
