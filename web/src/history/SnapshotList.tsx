import type { Place } from "../api/queries.ts";
import type { Snapshot } from "../api/types.ts";
import { SnapshotRow } from "./SnapshotRow.tsx";

export type RowsProps = {
  place: Place;
  snapshots: Snapshot[];
  busy: boolean;
  onRestore: (snapshot: string) => void;
  /** Shows what is in it. */
  onInside: (snapshot: Snapshot) => void;
};

/** Snapshots on a line, newest first. */
export function SnapshotList({ label, snapshots, onRestore, ...rest }: RowsProps & { label: string }) {
  return (
    <ol aria-label={label} className="relative">
      {snapshots.length > 1 && (
        <span aria-hidden="true" className="absolute top-4 bottom-10 left-[6px] w-px bg-line" />
      )}
      {snapshots.map((snapshot) => (
        <SnapshotRow
          key={snapshot.id}
          snapshot={snapshot}
          onRestore={() => onRestore(snapshot.id)}
          {...rest}
        />
      ))}
    </ol>
  );
}
