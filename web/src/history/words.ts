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
  fork: "Forked",
};

export const reasonWords = (snapshot: Snapshot) => reasons[snapshot.reason] ?? snapshot.reason;

/** The name that a person gave it; turns name snapshots by themselves. */
export const nameOf = ({ name, turn }: Snapshot): string | null => (turn ? null : name);

/** What a snapshot is called: its name, the turn that it shows, else why it was made. */
export function titleWords(snapshot: Snapshot): string {
  const { turn } = snapshot;
  if (turn) return `${turn.when === "before" ? "Before" : "After"} turn ${turn.number}`;
  return nameOf(snapshot) ?? reasonWords(snapshot);
}

type Counts = { added: number; removed: number; changed: number; renamed: number };

/** "2 added, 1 changed", or that nothing differs. */
export function changesWords(counts: Counts): string {
  const told = (["added", "removed", "changed", "renamed"] as const)
    .filter((kind) => counts[kind] > 0)
    .map((kind) => `${number(counts[kind])} ${kind}`);
  return told.length > 0 ? `${told.join(", ")}.` : "Nothing differs.";
}

const asides: Record<string, string> = {
  "lost-race": "Another writer saved this branch first, so this work went beside it.",
  detached: "The sandbox ran without its saved work, so what was done in it went beside that.",
  "behind-head": "A newer snapshot was there when the sandbox started, so its unsaved work went beside it.",
  import: "It was imported while the sandbox ran.",
  repair: "It is what a repair could keep of a damaged snapshot.",
};

/** Why work went to a side lineage. */
export const asideWords = (reason: string | null) =>
  asides[reason ?? ""] ?? "It was saved beside the branch's own line.";

/** Of a fork, or of what was brought back: which snapshot that was. */
export function madeFromWords({ made_from: from, agent_id, branch }: Snapshot): string {
  if (!from) return "";
  if (from.agent_id !== agent_id) return `from ${from.branch}, of another agent`;
  if (from.branch !== branch) return `from ${from.branch}`;
  const taken = snapshotTime(from.snapshot_id);
  return taken ? `from ${taken}` : "";
}

/** When a snapshot was made, by its id; nothing for an id of another form. */
function snapshotTime(id: string): string {
  const [, year, month, day, hour, minute] = /^(\d{4})(\d\d)(\d\d)t(\d\d)(\d\d)/.exec(id) ?? [];
  if (!year || !month || !day || !hour || !minute) return "";
  const at = new Date(Date.UTC(+year, +month - 1, +day, +hour, +minute));
  return at.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}

/** When a condemned snapshot goes, and why. */
export function goesWords({ condemned_because, deleted_after }: Snapshot, now: number): string {
  const why = condemned_because === "deleted" ? "Deleted" : "Older than what is kept";
  const left = Date.parse(deleted_after ?? "") - now;
  if (!(left > 0)) return `${why}: it may go any time now.`;
  const minutes = Math.ceil(left / 60_000);
  const until = minutes < 60 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
  return `${why}: it goes in ${until}.`;
}

const number = (amount: number) => amount.toLocaleString("en");
export const some = (amount: number, what: string) => `${number(amount)} ${what}${amount === 1 ? "" : "s"}`;

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
    [
      "Left out by .limpetignore",
      receipt.ignored,
      (receipt.counts.ignored ?? 0) + (receipt.counts.ignore_files_not_followed ?? 0),
    ],
  ];
  return kinds
    .filter(([, remarks]) => remarks.length > 0)
    .map(([title, remarks, all]) => ({ title, remarks, more: Math.max(0, all - remarks.length) }));
}
