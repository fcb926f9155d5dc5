import type { Snapshot } from "../api/types.ts";
import { SnapshotList, type RowsProps } from "./SnapshotList.tsx";
import { asideWords } from "./words.ts";

/** The side lineages of which somebody still has to say what shall become of them, by name. */
const waiting = (snapshots: Snapshot[]) =>
  snapshots
    .filter(({ adoptable, condemned_at }) => adoptable && condemned_at === null)
    .map(({ lineage }) => lineage);

/** Work that was saved beside the branch's own line, a group for each lineage, with why. */
export function SideLineages({ snapshots, ...rows }: RowsProps) {
  return waiting(snapshots).map((name) => {
    const members = snapshots.filter(({ lineage }) => lineage === name);
    return (
      <section key={name} aria-label="Kept aside" className="rounded-2xl bg-shell-wash p-5">
        <h2 className="font-semibold text-shell">Kept aside</h2>
        <p className="mt-0.5 mb-4 max-w-prose text-sm leading-relaxed text-pretty">
          {asideWords(members[0]?.side_reason ?? null)} Nothing was overwritten: make it the head, or
          leave it here.
        </p>
        <SnapshotList label="Snapshots that were kept aside" snapshots={members} {...rows} />
      </section>
    );
  });
}

/** Side lineages that were adopted or deleted, out of the way. */
export function DoneAside({ snapshots, ...rows }: RowsProps) {
  const names = waiting(snapshots);
  const done = snapshots.filter(({ lineage }) => lineage !== "main" && !names.includes(lineage));
  if (done.length === 0) return null;
  return (
    <details className="border-t border-line pt-5">
      <summary className="w-fit cursor-pointer rounded text-sm text-muted">
        Kept aside earlier, and done with ({done.length})
      </summary>
      <div className="mt-4">
        <SnapshotList label="Done with" snapshots={done} {...rows} />
      </div>
    </details>
  );
}
