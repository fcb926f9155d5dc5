import { useCallback, useState } from "react";
import { keep, kept } from "../ui/kept.ts";

type Change = (text: string | ((now: string) => string)) => void;

/** What a draft is kept as. */
export const draftName = (of: string) => `draft-${of}`;

/** What is being written, kept by this browser until it is sent; also while nothing shows it. */
export function useDraft(of: string): [string, Change] {
  const name = draftName(of);
  const [text, setText] = useState(() => kept(name) ?? "");
  const change: Change = useCallback(
    (wanted) => {
      const next = typeof wanted === "function" ? wanted(kept(name) ?? "") : wanted;
      keep(name, next || null);
      setText(next);
    },
    [name],
  );
  return [text, change];
}
