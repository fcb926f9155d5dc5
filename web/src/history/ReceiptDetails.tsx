import type { Receipt } from "../api/types.ts";
import { receiptLines, receiptRemarks } from "./words.ts";

/** Everything that a receipt tells. */
export function ReceiptDetails({ receipt, id }: { receipt: Receipt; id: string }) {
  return (
    <div className="mt-2 space-y-3 rounded-xl bg-sunken p-4">
      <dl className="grid grid-cols-[auto_1fr] gap-x-5 gap-y-1">
        {[...receiptLines(receipt), ["Id", id] as const].map(([name, value]) => (
          <div key={name} className="contents">
            <dt className="text-muted">{name}</dt>
            <dd className={`min-w-0 break-all ${name === "BLAKE3" || name === "Id" ? "font-mono text-xs leading-5" : ""}`}>
              {value}
            </dd>
          </div>
        ))}
      </dl>
      {receiptRemarks(receipt).map(({ title, remarks, more }) => (
        <div key={title}>
          <p className="text-muted">{title}</p>
          <ul className="mt-1 max-h-48 space-y-0.5 overflow-auto">
            {remarks.map(({ path, reason }) => (
              <li key={`${path} ${reason}`}>
                <span className="font-mono text-xs break-all">{path}</span>{" "}
                <span className="text-muted">{reason}</span>
              </li>
            ))}
            {more > 0 && <li className="text-muted">and {more.toLocaleString("en")} more</li>}
          </ul>
        </div>
      ))}
    </div>
  );
}
