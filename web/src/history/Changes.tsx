import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import type { Place } from "../api/queries.ts";
import { DiffView } from "../chat/DiffView.tsx";
import { diffLines } from "../chat/diff.ts";
import { Button } from "../ui/Button.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Icon } from "../ui/Icon.tsx";
import { size } from "../ui/time.ts";
import { type Change, changesQuery, fileDiffQuery } from "./inside.ts";
import { changesWords } from "./words.ts";

type Props = { place: Place; snapshot: string; other: string | null };

const signs: Record<Change["kind"], { sign: string; colour: string }> = {
  added: { sign: "+", colour: "text-good" },
  removed: { sign: "−", colour: "text-bad" },
  changed: { sign: "~", colour: "text-shell" },
  renamed: { sign: "→", colour: "text-sea" },
};
const AT_FIRST = 200;

/** What leads from one snapshot to another: paths, and of text files the lines. */
export function Changes({ place, snapshot, other }: Props) {
  const { data, error } = useQuery(changesQuery(place, snapshot, other));
  const [all, setAll] = useState(false);
  if (!data) return error ? <ErrorText error={error} /> : <p className="text-muted">Comparing…</p>;
  const shown = all ? data.changes : data.changes.slice(0, AT_FIRST);
  return (
    <div className="space-y-3">
      <p className="text-sm text-muted">
        {data.before === null && "There is nothing before it, so all is new. "}
        {changesWords(data)}
      </p>
      {shown.length > 0 && (
        <ul aria-label="Changes" className="divide-y divide-line overflow-hidden rounded-2xl border border-line">
          {shown.map((change) => (
            <Row key={`${change.kind} ${change.path}`} change={change} place={place} snapshot={snapshot} other={other} />
          ))}
        </ul>
      )}
      {shown.length < data.changes.length && (
        <Button onClick={() => setAll(true)}>All {data.changes.length.toLocaleString("en")}</Button>
      )}
      {data.truncated && <p className="text-sm text-shell">There are more than can be shown.</p>}
    </div>
  );
}

function Row({ change, ...of }: Props & { change: Change }) {
  const [open, setOpen] = useState(false);
  const { sign, colour } = signs[change.kind];
  const readable = change.type === "file";
  const name = change.old_path ? `${change.old_path} → ${change.path}` : change.path;
  const line = (
    <>
      <span aria-hidden="true" className={`w-3 shrink-0 text-center font-mono ${colour}`}>
        {sign}
      </span>
      <span className="sr-only">{change.kind}: </span>
      <span className="min-w-0 flex-1 font-mono text-xs break-all">
        {name}
        {change.type === "folder" && "/"}
      </span>
      <span className="shrink-0 text-xs text-muted tabular-nums">{sizesOf(change)}</span>
    </>
  );
  if (!readable) return <li className="flex items-center gap-2.5 px-3.5 py-2">{line}</li>;
  return (
    <li>
      <button
        type="button"
        aria-expanded={open}
        onClick={() => setOpen(!open)}
        className="flex w-full items-center gap-2.5 px-3.5 py-2 text-left hover:bg-sunken focus-visible:-outline-offset-2"
      >
        {line}
        <Icon name="down" className={`size-3.5 text-muted ${open ? "rotate-180" : ""}`} />
      </button>
      {open && <Lines {...of} path={change.path} />}
    </li>
  );
}

function Lines({ place, snapshot, other, path }: Props & { path: string }) {
  const { data: diff, error } = useQuery(fileDiffQuery(place, snapshot, other, path));
  if (error) return <ErrorText error={error} />;
  if (diff === undefined) return <p className="px-9 pb-2 text-sm text-muted">Reading…</p>;
  if (diff === null) return <p className="px-9 pb-2 text-sm text-muted">It is no text, or too much of it.</p>;
  return (
    <div className="border-t border-line bg-shore">
      <DiffView lines={diffLines(diff)} what={`Lines of ${path}`} />
    </div>
  );
}

function sizesOf({ kind, size_before: before, size_after: after, what }: Change): string {
  if (kind === "added") return after === null ? "" : size(after);
  if (kind === "removed") return before === null ? "" : size(before);
  if (before !== null && after !== null && before !== after) return `${size(before)} → ${size(after)}`;
  return what.join(", ");
}
