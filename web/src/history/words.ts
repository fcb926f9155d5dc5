import type { Receipt, Remark, Snapshot } from "../api/types.ts";
import { size } from "../ui/time.ts";

const reasons: Record<string, string> = {
  idle: "Saved when idle",
  interval: "Saved while working",
  shutdown: "Saved at shutdown",
  stop: "Saved when stopped",
  manual: "Saved by you",
  "before-restore": "Saved before going back",
  import: "Imported",
  rollback: "Brought back",
  start: "Kept aside at a start",
  template: "Began from the template",
  repair: "Kept by a repair of the store",
};

export const reasonWords = (snapshot: Snapshot) => reasons[snapshot.reason] ?? snapshot.reason;

const number = (amount: number) => amount.toLocaleString("en");
const some = (amount: number, what: string) => `${number(amount)} ${what}${amount === 1 ? "" : "s"}`;

/** Whether a receipt says that all was carried and verified; in the first line of its story. */
export function receiptWords(receipt: Receipt | null): string {
  if (!receipt) return "No receipt";
  if (receipt.complete) return "Complete and verified";
  return `Not complete: ${receipt.incomplete_because.join("; ") || "see below"}`;
}

/** What a receipt tells beside that, a line each. */
export function receiptLines(receipt: Receipt): [string, string][] {
  const dropped = Object.entries(receipt.dropped).filter(([, count]) => count > 0);
  return [
    ["Contents", `${some(receipt.files, "file")}, ${some(receipt.entries, "entry").replace("entrys", "entries")}`],
    ["Size", `${size(receipt.bytes)} of files, ${size(receipt.size_bytes)} stored`],
    ["Took", `${(receipt.duration_ms / 1000).toFixed(1)} s`],
    ...(dropped.length > 0
      ? ([["Not carried", dropped.map(([what, count]) => `${number(count)} ${what}`).join(", ")]] as [string, string][])
      : []),
    ...(receipt.blake3 ? ([["BLAKE3", receipt.blake3]] as [string, string][]) : []),
  ];
}

/** The paths that were told apart, by kind, with how many there are in all. */
export function receiptRemarks(receipt: Receipt): { title: string; remarks: Remark[]; more: number }[] {
  const kinds: [string, Remark[], number][] = [
    ["Skipped", receipt.skipped, (receipt.counts.skipped ?? 0) + (receipt.counts.unreadable ?? 0)],
    ["Changed while they were read", receipt.torn, receipt.counts.torn ?? 0],
    ["Mended", receipt.healed, receipt.counts.healed ?? 0],
  ];
  return kinds
    .filter(([, remarks]) => remarks.length > 0)
    .map(([title, remarks, all]) => ({ title, remarks, more: Math.max(0, all - remarks.length) }));
}
