import { exportUrl } from "../api/queries.ts";
import type { Snapshot } from "../api/types.ts";
import { buttonLook } from "../ui/Button.tsx";
import { Confirm } from "../ui/Confirm.tsx";
import { Icon } from "../ui/Icon.tsx";
import { ago, size } from "../ui/time.ts";
import { useNow } from "../ui/useNow.ts";
import { ReceiptDetails } from "./ReceiptDetails.tsx";
import { reasonWords, receiptWords } from "./words.ts";

type Props = { agentId: string; snapshot: Snapshot; busy: boolean; onRestore: () => void };

/** One state of the workspace: when, why, how much; back to it, or take it along. */
export function SnapshotRow({ agentId, snapshot, busy, onRestore }: Props) {
  const now = useNow();
  const main = snapshot.lineage === "main";
  const newest = main && snapshot.is_head;
  const { receipt } = snapshot;
  const when = ago(snapshot.created_at, now);
  return (
    <li className="relative pb-6 pl-8 last:pb-0">
      <span
        aria-hidden="true"
        className={`absolute top-1.5 left-0 size-3.5 rounded-full border-2 ${
          newest ? "border-sea bg-sea" : main ? "border-sea bg-raised" : "border-dashed border-shell bg-raised"
        }`}
      />
      <div className="flex flex-wrap items-start gap-x-4 gap-y-2">
        <div className="min-w-0 flex-1 basis-64">
          <p className="font-medium">
            {snapshot.name ?? reasonWords(snapshot)}
            {newest && <Tag>newest</Tag>}
            {!main && <Tag>kept aside</Tag>}
          </p>
          <p className="text-sm text-muted">
            <time dateTime={snapshot.created_at} title={new Date(snapshot.created_at).toLocaleString()}>
              {when}
            </time>
            {snapshot.name && ` · ${reasonWords(snapshot)}`} · {size(snapshot.size_bytes)}
          </p>
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
        <div className="flex gap-1">
          <Confirm
            label={main ? "Restore" : "Bring back"}
            title={`Bring back what was saved ${when}?`}
            explanation="What is there now is saved first, so that you can return to it. Running processes end and start again."
            action="Bring it back"
            onConfirm={onRestore}
            disabled={busy}
          />
          <a
            href={exportUrl(agentId, snapshot.id)}
            download={`${snapshot.id}.tar`}
            aria-label={`Export the snapshot of ${when}`}
            title="Export as a tar"
            className={`${buttonLook("quiet")} w-9 px-0`}
          >
            <Icon name="download" />
          </a>
        </div>
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
