import { type RemoteAct, useRemote } from "../api/inside.ts";
import type { GitStatus } from "../api/insideTypes.ts";
import { Button } from "../ui/Button.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Icon } from "../ui/Icon.tsx";
import { doneWords, standing } from "./words.ts";

type Props = { handle: string; status: GitStatus; hasRemote: boolean };

const acts: [RemoteAct, string, string][] = [
  ["fetch", "Fetch", "Fetching…"],
  ["pull", "Pull", "Pulling…"],
  ["push", "Push", "Pushing…"],
];

/** The branch, how it stands, and what the remote has to do with it. */
export function BranchLine({ handle, status, hasRemote }: Props) {
  const remote = useRemote(handle);
  const said = standing(status);
  return (
    <section aria-label="Branch" className="space-y-2">
      <div className="flex flex-wrap items-center gap-x-4 gap-y-2">
        <div className="min-w-0 flex-1 basis-52">
          <h2 className="flex items-center gap-2 font-mono text-sm font-medium">
            <Icon name="branch" className="size-4 text-muted" />
            <span className="min-w-0 break-words">{status.current ?? "no branch: HEAD is detached"}</span>
          </h2>
          {said.length > 0 && <p className="mt-0.5 text-sm text-muted">{said.join(" · ")}</p>}
        </div>
        {(hasRemote || status.base !== null) && (
          <div className="flex gap-1.5">
            {acts.map(([act, word, busy]) => (
              <Button key={act} size="small" disabled={remote.isPending} onClick={() => remote.mutate(act)}>
                {remote.isPending && remote.variables === act ? busy : word}
                {act === "push" && Boolean(status.unpushed) && !remote.isPending && ` ${status.unpushed}`}
              </Button>
            ))}
          </div>
        )}
      </div>
      <ErrorText error={remote.error} />
      {remote.data && !remote.isPending && (
        <output className="block text-sm text-good">{doneWords[remote.data]}</output>
      )}
    </section>
  );
}
