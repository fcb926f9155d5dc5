import type { Snapshot } from "../api/types.ts";
import { Button } from "../ui/Button.tsx";
import { goesWords } from "./words.ts";

type Props = { snapshot: Snapshot; now: number; onKeep: () => void };

/** When a snapshot goes, and the way to keep it: a name. */
export function Condemned({ snapshot, now, onKeep }: Props) {
  return (
    <p className="mt-1 flex flex-wrap items-center gap-x-2 text-sm text-shell">
      {goesWords(snapshot, now)}
      <Button look="quiet" size="small" onClick={onKeep}>
        Keep it
      </Button>
    </p>
  );
}
