import { useQuery } from "@tanstack/react-query";
import { type Place, snapshotsQuery, useRestore } from "../api/queries.ts";
import type { Agent } from "../api/types.ts";
import { ErrorText } from "../ui/ErrorText.tsx";
import { SaveForm } from "./SaveForm.tsx";
import { DoneAside, SideLineages } from "./SideLineages.tsx";
import { SnapshotList } from "./SnapshotList.tsx";

/** What was saved, newest first; save now, go back, fork, name, delete, take it along. */
export function HistoryPane({ agent, running }: { agent: Agent; running: boolean }) {
  const place: Place = { agentId: agent.id, branch: agent.default_branch };
  const { data: snapshots, error, isPending } = useQuery(snapshotsQuery(place));
  const restore = useRestore(place);
  const all = snapshots ?? [];
  const rows = { place, busy: restore.isPending, onRestore: restore.mutate };
  const main = all.filter(({ lineage }) => lineage === "main");
  return (
    <div className="h-full overflow-auto p-5 sm:p-8">
      <div className="mx-auto max-w-3xl space-y-7">
        <SaveForm place={place} running={running} />
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
        <SideLineages snapshots={all} {...rows} />
        {main.length > 0 && <SnapshotList label="Snapshots" snapshots={main} {...rows} />}
        <DoneAside snapshots={all} {...rows} />
      </div>
    </div>
  );
}
