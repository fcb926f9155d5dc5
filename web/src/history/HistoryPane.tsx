import { useQuery } from "@tanstack/react-query";
import { type Place, snapshotsQuery, useLastRestore, useRestore } from "../api/queries.ts";
import { useRef, useState } from "react";
import type { Agent, Snapshot } from "../api/types.ts";
import { Button } from "../ui/Button.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Icon } from "../ui/Icon.tsx";
import { SaveForm } from "./SaveForm.tsx";
import { DoneAside, SideLineages } from "./SideLineages.tsx";
import { SnapshotInside } from "./SnapshotInside.tsx";
import { SnapshotList } from "./SnapshotList.tsx";

/** What was saved, newest first; save now, go back, fork, name, delete, take it along. */
export function HistoryPane({ agent, running }: { agent: Agent; running: boolean }) {
  const place: Place = { agentId: agent.id, branch: agent.default_branch };
  const { data: snapshots, error, isPending } = useQuery(snapshotsQuery(place));
  const restore = useRestore(place);
  const last = useLastRestore(place);
  const restoring = last?.status === "pending";
  const all = snapshots ?? [];
  const [inside, setInside] = useState<Snapshot | null>(null);
  const opener = useRef<HTMLElement | null>(null);
  function lookInside(snapshot: Snapshot) {
    opener.current = document.activeElement as HTMLElement | null;
    setInside(snapshot);
  }
  const rows = { place, busy: restoring, onRestore: restore.mutate, onInside: lookInside };
  const main = all.filter(({ lineage }) => lineage === "main");
  // What was there before was saved first; where nothing was unsaved, the newest snapshot has it.
  const before = last?.data && (last.data.saved_first?.id ?? last.data.head.parent);
  return (
    <div className="h-full overflow-auto p-5 sm:p-8">
      {inside && (
        <SnapshotInside
          key={inside.id}
          place={place}
          snapshot={inside}
          others={all.filter(({ id }) => id !== inside.id)}
          onClose={() => {
            setInside(null);
            requestAnimationFrame(() => opener.current?.focus());
          }}
        />
      )}
      <div className={`mx-auto max-w-3xl space-y-7 ${inside ? "hidden" : ""}`}>
        <SaveForm place={place} running={running} />
        <ErrorText error={error ?? last?.error ?? null} />
        {restoring && (
          <output className="tide block text-sea">
            Bringing it back: what is there now is saved first…
          </output>
        )}
        {last?.status === "success" && (
          <div className="flex flex-wrap items-center gap-x-3 gap-y-2">
            <output className="text-good">
              It is back. {before && "What was there before is in the history too."}
            </output>
            {before && (
              <Button onClick={() => restore.mutate(before)}>
                <Icon name="undo" className="size-4" /> Undo
              </Button>
            )}
          </div>
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
