import { useQuery } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { exportUrl, snapshotsQuery, useRestore, useSave } from "../api/queries.ts";
import type { Agent, Snapshot } from "../api/types.ts";
import { Button } from "../ui/Button.tsx";
import { Confirm } from "../ui/Confirm.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { ago, size } from "../ui/time.ts";
import { useNow } from "../ui/useNow.ts";
import { reasonWords, receiptWords } from "./words.ts";

/** What was saved, newest first; save now, go back, take it along. */
export function HistoryPane({ agent, running }: { agent: Agent; running: boolean }) {
  const { data: snapshots, error, isPending } = useQuery(snapshotsQuery(agent.id));
  const save = useSave(agent.id);
  const restore = useRestore(agent.id);
  const [name, setName] = useState("");

  function saveNow(event: FormEvent) {
    event.preventDefault();
    save.mutate(name.trim(), { onSuccess: () => setName("") });
  }

  return (
    <div className="h-full overflow-auto p-5 sm:p-8">
      <form onSubmit={saveNow} className="mb-5 flex max-w-lg flex-wrap gap-2">
        <input
          value={name}
          onChange={(event) => setName(event.target.value)}
          maxLength={255}
          placeholder="A name, if you like"
          aria-label="Name of the snapshot"
          className="h-9 min-w-0 flex-1 rounded-lg border border-line bg-raised px-3"
        />
        <Button type="submit" look="main" disabled={!running || save.isPending}>
          {save.isPending ? "Saving…" : "Save now"}
        </Button>
      </form>
      <ErrorText error={error ?? save.error ?? restore.error} />
      {isPending && <p className="text-muted">Looking…</p>}
      {snapshots?.length === 0 && (
        <p className="max-w-prose leading-relaxed text-muted">
          Nothing is saved yet. The workspace is saved by itself when it falls idle, at least every
          ten minutes while you work, and before it stops.
        </p>
      )}
      <ul className="divide-y divide-line">
        {snapshots?.map((snapshot) => (
          <Row
            key={snapshot.id}
            agent={agent}
            snapshot={snapshot}
            busy={restore.isPending}
            onRestore={() => restore.mutate(snapshot.id)}
          />
        ))}
      </ul>
    </div>
  );
}

type RowProps = { agent: Agent; snapshot: Snapshot; busy: boolean; onRestore: () => void };

function Row({ agent, snapshot, busy, onRestore }: RowProps) {
  const now = useNow();
  const present = snapshot.is_head && snapshot.lineage === "main";
  return (
    <li className="flex flex-wrap items-center gap-x-4 gap-y-2 py-3.5">
      <div className="min-w-0 flex-1 basis-60">
        <p className="font-medium">
          {snapshot.name ?? reasonWords(snapshot)}
          {present && <Tag>newest</Tag>}
          {snapshot.lineage !== "main" && <Tag>aside</Tag>}
        </p>
        <p className="mt-0.5 text-muted">
          <time dateTime={snapshot.created_at} title={snapshot.created_at}>
            {ago(snapshot.created_at, now)}
          </time>
          {snapshot.name && ` · ${reasonWords(snapshot)}`} · {size(snapshot.size_bytes)}
        </p>
        <p className="mt-0.5 text-xs text-muted">{receiptWords(snapshot.receipt).join(" · ")}</p>
      </div>
      <div className="flex gap-2">
        <Confirm
          label={snapshot.lineage === "main" ? "Go back" : "Bring back"}
          title="Bring this state back?"
          explanation="What is there now is saved first, so that you can return to it. Running processes end and start again."
          action="Bring it back"
          onConfirm={onRestore}
          disabled={busy}
        />
        <a
          href={exportUrl(agent.id, snapshot.id)}
          download={`${snapshot.id}.tar`}
          className="grid h-9 place-items-center rounded-lg px-3 font-medium text-muted hover:bg-sunken hover:text-ink"
        >
          Export
        </a>
      </div>
    </li>
  );
}

function Tag({ children }: { children: string }) {
  return (
    <span className="ml-2 rounded-full bg-sunken px-2 py-0.5 text-xs font-normal text-muted">
      {children}
    </span>
  );
}
