import * as Tabs from "@radix-ui/react-tabs";
import { useState } from "react";
import { Icon } from "../ui/Icon.tsx";
import { LogText } from "./LogText.tsx";
import { linesWith } from "./lines.ts";

type Props = { logs: Record<string, string>; first?: string; small?: boolean };

/** The sandbox's logs, one source at a time. */
export function LogsPane({ logs, first = "dev", small = false }: Props) {
  const sources = Object.keys(logs).toSorted();
  const [chosen, setChosen] = useState<string | null>(null);
  const [sought, setSought] = useState("");
  const wanted = [chosen, first, "setup"].find((source) => source !== null && sources.includes(source));
  const shown = wanted ?? sources[0];
  if (!shown) {
    return <p className="grid h-full place-items-center p-6 text-muted">Nothing was logged yet.</p>;
  }
  const text = logs[shown] ?? "";
  return (
    <Tabs.Root value={shown} onValueChange={setChosen} className="flex h-full min-h-0 flex-col">
      <div className="flex items-center gap-2 border-b border-line px-2 py-1">
        <Tabs.List aria-label="Log sources" className="flex min-w-0 flex-1 gap-0.5 overflow-x-auto">
          {sources.map((source) => (
            <Tabs.Trigger
              key={source}
              value={source}
              className="rounded-full px-3 py-1 font-mono text-xs text-muted hover:text-ink focus-visible:rounded-full data-[state=active]:bg-sunken data-[state=active]:text-ink"
            >
              {source}
            </Tabs.Trigger>
          ))}
        </Tabs.List>
        {!small && (
          <label className="flex items-center gap-2 rounded-full bg-sunken px-3 text-muted">
            <Icon name="search" className="size-4" />
            <input
              type="search"
              aria-label="Find in the log"
              placeholder="Find"
              value={sought}
              onChange={(event) => setSought(event.target.value)}
              className="h-8 w-28 bg-transparent text-sm text-ink outline-none sm:w-44"
            />
          </label>
        )}
      </div>
      <Tabs.Content value={shown} className="min-h-0 flex-1 outline-none" tabIndex={-1}>
        <LogText key={shown} text={sought ? linesWith(text, sought) : text} />
      </Tabs.Content>
    </Tabs.Root>
  );
}
