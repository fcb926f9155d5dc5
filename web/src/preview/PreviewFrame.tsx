import { useState } from "react";
import { Button } from "../ui/Button.tsx";

const WIDTHS = { desktop: "100%", tablet: "834px", phone: "390px" };
type Width = keyof typeof WIDTHS;

type Props = { url: string; reloads: number };

/** The live page, with a bar to reload it, open it apart and see it narrower. */
export function PreviewFrame({ url, reloads }: Props) {
  const [width, setWidth] = useState<Width>("desktop");
  const [asked, setAsked] = useState(0);
  return (
    <div className="flex h-full min-h-0 flex-col">
      <div className="flex items-center gap-1 border-b border-line px-2 py-1.5">
        <Button look="quiet" aria-label="Reload the preview" onClick={() => setAsked(asked + 1)}>
          ↻
        </Button>
        <span className="min-w-0 flex-1 truncate rounded-md bg-sunken px-3 py-1 font-mono text-xs text-muted">
          {url}
        </span>
        <fieldset aria-label="Width" className="hidden sm:flex">
          {(Object.keys(WIDTHS) as Width[]).map((name) => (
            <Button
              key={name}
              look="quiet"
              aria-pressed={width === name}
              className={`px-2 text-xs ${width === name ? "bg-sunken text-ink" : ""}`}
              onClick={() => setWidth(name)}
            >
              {name}
            </Button>
          ))}
        </fieldset>
        <a
          href={url}
          target="_blank"
          rel="noreferrer"
          className="grid h-9 place-items-center rounded-lg px-3 text-muted hover:bg-sunken hover:text-ink"
          aria-label="Open the preview in a tab of its own"
        >
          ↗
        </a>
      </div>
      <div className="min-h-0 flex-1 bg-sunken">
        <iframe
          key={`${asked}-${reloads}`}
          src={url}
          title="Live preview"
          style={{ width: WIDTHS[width] }}
          className="mx-auto block h-full max-w-full bg-white"
          allow="clipboard-read; clipboard-write; fullscreen"
        />
      </div>
    </div>
  );
}
