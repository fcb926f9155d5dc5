import { useQuery } from "@tanstack/react-query";
import { snapshotsQuery, useRestore } from "../api/queries.ts";
import type { Agent } from "../api/types.ts";
import { ErrorText } from "../ui/ErrorText.tsx";
import { SaveForm } from "./SaveForm.tsx";
import { SnapshotRow } from "./SnapshotRow.tsx";

/** What was saved, newest first; save now, go back, take it along. */
export function HistoryPane({ agent, running }: { agent: Agent; running: boolean }) {
  const { data: snapshots, error, isPending } = useQuery(snapshotsQuery(agent.id));
  const restore = useRestore(agent.id);
  return (
    <div className="h-full overflow-auto p-5 sm:p-8">
      <div className="mx-auto max-w-3xl space-y-7">
        <SaveForm agentId={agent.id} running={running} />
        <ErrorText error={error ?? restore.error} />
        {restore.isPending && (
          <output className="tide block text-sea">
            Bringing it back: what is there now is saved first…
          </output>
        )}
        {restore.data && !restore.isPending && (
          <output className="block text-good">
            It is back.{" "}
            {restore.data.saved_first && "What was there before is in the history too."}
          </output>
        )}
        {isPending && <p className="text-muted">Looking…</p>}
        {snapshots?.length === 0 && (
          <p className="max-w-prose leading-relaxed text-pretty text-muted">
            Nothing is saved yet. The workspace is saved by itself when it falls idle, at least every
            ten minutes while you work, and before it stops.
          </p>
        )}
        <ol aria-label="Snapshots" className="relative">
          {snapshots && snapshots.length > 1 && (
            <span aria-hidden="true" className="absolute top-4 bottom-10 left-[6px] w-px bg-line" />
          )}
          {snapshots?.map((snapshot) => (
            <SnapshotRow
              key={snapshot.id}
              agentId={agent.id}
              snapshot={snapshot}
              busy={restore.isPending}
              onRestore={() => restore.mutate(snapshot.id)}
            />
          ))}
        </ol>
      </div>
    </div>
  );
}
