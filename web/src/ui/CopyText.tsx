import { useState } from "react";
import { Icon } from "./Icon.tsx";

/** A command that can be taken along. */
export function CopyText({ text }: { text: string }) {
  const [copied, setCopied] = useState(false);

  async function copy() {
    await navigator.clipboard.writeText(text);
    setCopied(true);
  }

  return (
    <button
      type="button"
      onClick={copy}
      aria-label={`Copy: ${text}`}
      className="group flex w-full items-center gap-2 rounded-xl border border-line bg-raised px-3 py-2 text-left font-mono text-xs hover:bg-sunken"
    >
      <span className="min-w-0 flex-1 break-words">{text}</span>
      <Icon name={copied ? "check" : "copy"} className="size-4 text-muted group-hover:text-ink" />
    </button>
  );
}
