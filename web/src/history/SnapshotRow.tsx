import { useState } from "react";
import type { Place } from "../api/queries.ts";
import type { Snapshot } from "../api/types.ts";
import { Button } from "../ui/Button.tsx";
import { Confirm } from "../ui/Confirm.tsx";
import { Icon } from "../ui/Icon.tsx";
import { ago, size } from "../ui/time.ts";
import { useNow } from "../ui/useNow.ts";
import { Condemned } from "./Condemned.tsx";
import { NameEditor } from "./NameEditor.tsx";
import { ReceiptDetails } from "./ReceiptDetails.tsx";
import { SnapshotMenu } from "./SnapshotMenu.tsx";
import { madeFromWords, nameOf, reasonWords, receiptWords, titleWords } from "./words.ts";

type Props = { place: Place; snapshot: Snapshot; busy: boolean; onRestore: () => void; onInside: (snapshot: Snapshot) => void };

/** One state of the workspace: when, why, how much; and what can be done with it. */
export function SnapshotRow({ place, snapshot, busy, onRestore, onInside }: Props) {
  const now = useNow();
  const [naming, setNaming] = useState(false);
  const main = snapshot.lineage === "main";
  const newest = main && snapshot.is_head;
  const going = snapshot.condemned_at !== null;
  const { receipt, turn } = snapshot;
  const when = ago(snapshot.created_at, now);
  const from = madeFromWords(snapshot);
  return (
    <li className="relative pb-6 pl-8 last:pb-0">
      <span
        aria-hidden="true"
        className={`absolute top-1.5 left-0 size-3.5 border-2 ${turn ? "rotate-45 scale-85 rounded-xs" : "rounded-full"} ${dot(newest, main, going)}`}
      />
      <div className="flex flex-wrap items-start gap-x-4 gap-y-2">
        <div className="min-w-0 flex-1 basis-52">
          {naming ? (
            <NameEditor place={place} snapshot={snapshot} onClose={() => setNaming(false)} />
          ) : (
            <p className={`font-medium break-words ${going ? "text-muted line-through" : ""}`}>
              {titleWords(snapshot)}
              {newest && <Tag>newest</Tag>}
              {!main && !snapshot.adoptable && !going && <Tag>kept aside</Tag>}
            </p>
          )}
          <p className="text-sm text-muted">
            <time dateTime={snapshot.created_at} title={new Date(snapshot.created_at).toLocaleString()}>
              {when}
            </time>
            {nameOf(snapshot) && ` · ${reasonWords(snapshot)}`}
            {turn && ` · by ${turn.author}`}
            {turn?.commit && (
              <>
                {" · "}
                <span className="font-mono text-xs" title="What the repository stood at">
                  {turn.commit.slice(0, 7)}
                </span>
              </>
            )}
            {from && ` · ${from}`} · {size(snapshot.stored_bytes)} new
            {receipt && `, in ${(receipt.duration_ms / 1000).toFixed(1)} s`}
          </p>
          {going && !naming && <Condemned snapshot={snapshot} now={now} onKeep={() => setNaming(true)} />}
          <details className="mt-1 text-sm">
            <summary
              className={`inline-flex w-fit items-center gap-1 rounded ${receipt?.complete ? "text-muted" : "text-shell"}`}
            >
              <Icon name={receipt?.complete ? "check" : "warn"} className="size-4" />
              {receiptWords(receipt)}
              <Icon name="down" className="size-3.5" />
            </summary>
            {receipt && <ReceiptDetails receipt={receipt} id={snapshot.id} />}
          </details>
        </div>
        <div className="flex flex-wrap gap-1">
          <Button look="quiet" onClick={() => onInside(snapshot)}>
            Look inside<span className="sr-only"> {titleWords(snapshot)}</span>
          </Button>
          {!newest && (
            <Confirm
              look={snapshot.adoptable && !going ? "main" : "plain"}
              label={main ? "Restore" : "Make this the head"}
              title={main ? `Bring back what was saved ${when}?` : "Make this the head of the branch?"}
              explanation="What is there now is saved first, so that you can return to it. Running processes end and start again."
              action={main ? "Bring it back" : "Make it the head"}
              onConfirm={onRestore}
              disabled={busy}
            />
          )}
          <SnapshotMenu
            place={place}
            snapshot={snapshot}
            when={when}
            onName={() => setNaming(true)}
          />
        </div>
      </div>
    </li>
  );
}

function dot(newest: boolean, main: boolean, going: boolean): string {
  if (going) return "border-line bg-raised";
  if (newest) return "border-sea bg-sea";
  return main ? "border-sea bg-raised" : "border-dashed border-shell bg-raised";
}

function Tag({ children }: { children: string }) {
  return (
    <span className="ml-2 rounded-full bg-sunken px-2 py-0.5 text-xs font-normal text-muted">
      {children}
    </span>
  );
}
