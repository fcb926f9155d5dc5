import type { Sandbox } from "../api/types.ts";
import { useNow } from "../ui/useNow.ts";
import { saveWords } from "./saveState.ts";
import { Whereabouts } from "./Whereabouts.tsx";

type Props = { box: Sandbox | null | undefined; onOpen: () => void };

/** Where the work stands; leads to the history. */
export function SaveStatus({ box, onOpen }: Props) {
  const { text, where, detail } = saveWords(box, useNow());
  if (!text) return null;
  return (
    <button
      type="button"
      onClick={onOpen}
      title={detail}
      aria-label={`${text}. Open the history.`}
      className={`flex h-9 max-w-64 min-w-0 items-center gap-2 rounded-full px-3 text-sm tabular-nums transition hover:bg-sunken focus-visible:rounded-full max-sm:mr-auto max-sm:-ml-2 ${
        where === "failed" ? "text-bad" : "text-muted"
      }`}
    >
      <Whereabouts where={where} />
      <span className="truncate">{text}</span>
    </button>
  );
}
