import { memo } from "react";
import { Icon } from "../ui/Icon.tsx";

/** The model's reasoning, folded: it is there for whoever wants to follow it. */
export const Thinking = memo(function Thinking({ text, now }: { text: string; now: boolean }) {
  return (
    <details className="group">
      <summary className="flex w-fit list-none items-center gap-2.5 rounded-xl px-3 py-1.5 text-sm text-muted hover:text-ink">
        <Icon name="spark" className={`size-4 ${now ? "tide text-sea" : ""}`} />
        {now ? "Thinking…" : "Thoughts"}
        <Icon name="down" className="size-3 transition group-open:rotate-180" />
      </summary>
      <p className="mx-3 mt-1 border-l-2 border-line pl-3.5 text-sm leading-relaxed whitespace-pre-wrap text-muted">
        {text}
      </p>
    </details>
  );
});
