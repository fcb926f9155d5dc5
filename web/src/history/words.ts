import type { Receipt, Snapshot } from "../api/types.ts";

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
};

export const reasonWords = (snapshot: Snapshot) => reasons[snapshot.reason] ?? snapshot.reason;

/** What a receipt says, most important first. */
export function receiptWords(receipt: Receipt | null): string[] {
  if (!receipt) return ["No receipt"];
  const dropped = Object.values(receipt.dropped).reduce((sum, count) => sum + count, 0);
  return [
    receipt.complete
      ? "Complete and verified"
      : `Not complete: ${receipt.incomplete_because.join("; ") || "see the log"}`,
    `${receipt.entries.toLocaleString("en")} entries`,
    ...(receipt.torn.length ? [`${receipt.torn.length} changed while they were read`] : []),
    ...(receipt.skipped.length ? [`${receipt.skipped.length} skipped`] : []),
    ...(dropped ? [`${dropped} attributes not carried`] : []),
  ];
}
