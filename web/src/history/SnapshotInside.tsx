import * as Tabs from "@radix-ui/react-tabs";
import { useState } from "react";
import type { Place } from "../api/queries.ts";
import type { Snapshot } from "../api/types.ts";
import { Button } from "../ui/Button.tsx";
import { field } from "../ui/field.ts";
import { Icon } from "../ui/Icon.tsx";
import { size } from "../ui/time.ts";
import { Changes } from "./Changes.tsx";
import { Files } from "./Files.tsx";
import { titleWords } from "./words.ts";

type Props = { place: Place; snapshot: Snapshot; others: Snapshot[]; onClose: () => void };

const tab =
  "rounded-full px-3.5 py-1.5 text-sm font-medium text-muted hover:text-ink focus-visible:rounded-full data-[state=active]:bg-sea-wash data-[state=active]:text-sea";

/** What is in a snapshot, and how it differs from another one. No sandbox is needed for it. */
export function SnapshotInside({ place, snapshot, others, onClose }: Props) {
  const [other, setOther] = useState<string | null>(null);
  return (
    <section
      aria-label={`In ${titleWords(snapshot)}`}
      className="mx-auto max-w-4xl space-y-5"
    >
      <header className="flex flex-wrap items-center gap-x-3 gap-y-1">
        {/* oxlint-disable-next-line jsx-a11y/no-autofocus -- it was asked for, and takes the list's place */}
        <Button look="quiet" size="small" className="-ml-3" onClick={onClose} autoFocus>
          <Icon name="back" className="size-4" /> History
        </Button>
        <div className="min-w-0 flex-1 basis-56">
          <h2 className="truncate font-display text-lg font-semibold">{titleWords(snapshot)}</h2>
          <p className="text-sm text-muted">
            <time dateTime={snapshot.created_at}>{whenOf(snapshot)}</time> · {size(snapshot.receipt?.bytes ?? snapshot.size_bytes)} of files
          </p>
        </div>
      </header>
      <Tabs.Root defaultValue="changes">
        <div className="flex flex-wrap items-center gap-3">
          <Tabs.List aria-label="Looks into the snapshot" className="flex gap-1">
            <Tabs.Trigger value="changes" className={tab}>
              Changes
            </Tabs.Trigger>
            <Tabs.Trigger value="files" className={tab}>
              Files
            </Tabs.Trigger>
          </Tabs.List>
        </div>
        <Tabs.Content value="changes" className="mt-4 space-y-4 outline-none" tabIndex={-1}>
          <label className="block max-w-md text-sm font-medium">
            Compared with
            <select
              value={other ?? ""}
              onChange={(event) => setOther(event.target.value || null)}
              className={field}
            >
              <option value="">the one before it</option>
              {others.map((one) => (
                <option key={one.id} value={one.id}>
                  {titleWords(one)}, {whenOf(one)}
                </option>
              ))}
            </select>
          </label>
          <Changes key={other} place={place} snapshot={snapshot.id} other={other} />
        </Tabs.Content>
        <Tabs.Content value="files" className="mt-4 outline-none" tabIndex={-1}>
          <Files place={place} snapshot={snapshot.id} />
        </Tabs.Content>
      </Tabs.Root>
    </section>
  );
}

const whenOf = ({ created_at }: Snapshot) =>
  new Date(created_at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
