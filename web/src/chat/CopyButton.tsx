import { useState } from "react";
import { Icon } from "../ui/Icon.tsx";

/** Takes a text along; says so for a moment. */
export function CopyButton({ text, what }: { text: string; what: string }) {
  const [copied, setCopied] = useState(false);

  async function copy() {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 2_000);
  }

  return (
    <button
      type="button"
      onClick={copy}
      aria-label={copied ? `Copied ${what}` : `Copy ${what}`}
      title={copied ? "Copied" : "Copy"}
      className="grid size-7 place-items-center rounded-full text-muted hover:bg-line/60 hover:text-ink"
    >
      <Icon name={copied ? "check" : "copy"} className="size-3.5" />
    </button>
  );
}
