import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import type { Place } from "../api/queries.ts";
import { Button, buttonLook } from "../ui/Button.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Icon, type IconName } from "../ui/Icon.tsx";
import { size } from "../ui/time.ts";
import { type At, downloadUrl, type Entry, fileQuery, filesQuery } from "./inside.ts";

type Props = { place: Place; snapshot: string };

const icons: Record<Entry["type"], IconName> = {
  folder: "folder",
  file: "file",
  symlink: "open",
  "hard-link": "file",
};

/** The files of a snapshot: looked at here, or taken along. */
export function Files(props: Props) {
  // From the workspace down to what is shown; the last one may be a file.
  const [trail, setTrail] = useState<(At & { isFile?: boolean })[]>([]);
  const at = trail.at(-1) ?? { path: "" };
  return (
    <div className="space-y-3">
      <div className="flex flex-wrap items-center gap-2">
        <nav aria-label="Where in the snapshot" className="min-w-0 flex-1">
          <ol className="flex flex-wrap items-center font-mono text-xs">
            {[{ path: "" }, ...trail].map((step, index) => (
              <li key={step.path} className="flex items-center">
                {index > 0 && <span aria-hidden="true">/</span>}
                <button
                  type="button"
                  onClick={() => setTrail(trail.slice(0, index))}
                  aria-current={index === trail.length ? "page" : undefined}
                  className="rounded px-1.5 py-1 hover:bg-sunken aria-[current=page]:font-semibold"
                >
                  {index === 0 ? "workspace" : nameOf(step.path)}
                </button>
              </li>
            ))}
          </ol>
        </nav>
        <a href={downloadUrl(props.place, props.snapshot, at)} download className={buttonLook("plain")}>
          <Icon name="download" className="size-4" />
          {"isFile" in at && at.isFile ? "Download" : "Download as a tar"}
        </a>
      </div>
      {"isFile" in at && at.isFile ? (
        <FileText {...props} at={at} />
      ) : (
        <Folder
          {...props}
          at={at}
          onOpen={({ path, raw, type }) => setTrail([...trail, { path, raw, isFile: type !== "folder" }])}
        />
      )}
    </div>
  );
}

function Folder({ place, snapshot, at, onOpen }: Props & { at: At; onOpen: (entry: Entry) => void }) {
  const { data, error, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery(
    filesQuery(place, snapshot, at),
  );
  const entries = data?.pages.flatMap((page) => page.entries);
  if (!entries) return error ? <ErrorText error={error} /> : <p className="text-muted">Looking…</p>;
  const foldersFirst = entries.toSorted((one, other) => Number(other.type === "folder") - Number(one.type === "folder"));
  return (
    <>
      {entries.length === 0 && <p className="text-sm text-muted">It is empty.</p>}
      <ul aria-label="Files" className="divide-y divide-line overflow-hidden rounded-2xl border border-line empty:hidden">
        {foldersFirst.map((entry) => (
          <li key={entry.path}>
            <button
              type="button"
              disabled={entry.type === "symlink"}
              onClick={() => onOpen(entry)}
              className="flex w-full items-center gap-3 px-3.5 py-2 text-left hover:bg-sunken focus-visible:-outline-offset-2 disabled:cursor-default"
            >
              <Icon name={icons[entry.type]} className={`size-4 ${entry.type === "folder" ? "text-sea" : "text-muted"}`} />
              <span className="min-w-0 flex-1 font-mono text-xs break-all">
                {nameOf(entry.path)}
                {entry.target && <span className="text-muted"> → {entry.target}</span>}
              </span>
              {entry.secret && <span className="text-xs text-shell">may hold secrets</span>}
              {entry.type === "file" && (
                <span className="shrink-0 text-xs text-muted tabular-nums">{size(entry.size_bytes)}</span>
              )}
            </button>
          </li>
        ))}
      </ul>
      {hasNextPage && (
        <Button className="mt-3" disabled={isFetchingNextPage} onClick={() => void fetchNextPage()}>
          {isFetchingNextPage ? "Looking…" : "More"}
        </Button>
      )}
    </>
  );
}

function FileText({ place, snapshot, at }: Props & { at: At }) {
  const { data, error } = useQuery(fileQuery(place, snapshot, at));
  if (!data) return error ? <ErrorText error={error} /> : <p className="text-muted">Reading…</p>;
  if (data.text === null) {
    return <p className="text-sm text-muted">It is no text ({size(data.entry.size_bytes)}). Download it to look at it.</p>;
  }
  return (
    <>
      <pre
        // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a scrolled region is reached by keyboard
        tabIndex={0}
        aria-label={at.path}
        className="max-h-[60dvh] overflow-auto rounded-2xl border border-line bg-shore p-4 font-mono text-xs leading-relaxed"
      >
        {data.text || "It is empty."}
      </pre>
      {data.truncated && (
        <p className="mt-2 text-sm text-muted">Its beginning. All of it ({size(data.entry.size_bytes)}) comes with the download.</p>
      )}
    </>
  );
}

const nameOf = (path: string) => path.slice(path.lastIndexOf("/") + 1);
