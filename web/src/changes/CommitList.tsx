import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { commitQuery, logQuery } from "../api/inside.ts";
import type { GitCommit } from "../api/insideTypes.ts";
import { Button } from "../ui/Button.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Icon } from "../ui/Icon.tsx";
import { ago } from "../ui/time.ts";
import { useNow } from "../ui/useNow.ts";
import { patchesOf } from "./grouping.ts";
import { Patch } from "./Patch.tsx";

/** The commits of the branch, newest first, each with what it changed. */
export function CommitList({ handle }: { handle: string }) {
  const log = useInfiniteQuery(logQuery(handle));
  const now = useNow();
  const commits = log.data?.pages.flatMap((page) => page.commits) ?? [];
  return (
    <section aria-label="Commits">
      <h3 className="mb-2 font-display text-lg font-semibold">Commits</h3>
      <ErrorText error={log.error} />
      {log.isPending && <p className="text-muted">Looking…</p>}
      {log.data && commits.length === 0 && (
        <p className="text-muted">There is none yet: the first one is yours to make.</p>
      )}
      {commits.length > 0 && (
        <ol className="divide-y divide-line overflow-hidden rounded-2xl border border-line">
          {commits.map((commit) => (
            <Row key={commit.sha} handle={handle} commit={commit} now={now} />
          ))}
        </ol>
      )}
      {log.hasNextPage && (
        <Button look="quiet" className="mt-2" disabled={log.isFetchingNextPage} onClick={() => void log.fetchNextPage()}>
          {log.isFetchingNextPage ? "Looking…" : "Older ones"}
        </Button>
      )}
    </section>
  );
}

function Row({ handle, commit, now }: { handle: string; commit: GitCommit; now: number }) {
  const [open, setOpen] = useState(false);
  return (
    <li>
      <button
        type="button"
        aria-expanded={open}
        onClick={() => setOpen(!open)}
        className="flex w-full items-center gap-2 px-3 py-2 text-left text-sm hover:bg-sunken focus-visible:-outline-offset-2"
      >
        <Icon name="down" className={`size-3.5 text-muted transition ${open ? "" : "-rotate-90"}`} />
        <span className="min-w-0 flex-1">
          <span className="block truncate">{commit.subject || "No message"}</span>
          <span className="block truncate text-xs text-muted">
            <span className="font-mono">{commit.sha.slice(0, 7)}</span> · {commit.author.name} · {ago(commit.date, now)}
          </span>
        </span>
        {commit.refs.map((ref) => (
          <span key={ref} className="hidden max-w-40 shrink-0 truncate rounded-full bg-sea-wash px-2 py-0.5 font-mono text-xs text-sea sm:inline">
            {ref.replace("HEAD -> ", "")}
          </span>
        ))}
      </button>
      {open && <Shown handle={handle} sha={commit.sha} />}
    </li>
  );
}

function Shown({ handle, sha }: { handle: string; sha: string }) {
  const { data, error } = useQuery(commitQuery(handle, sha));
  if (error) {
    return (
      <div className="p-3 text-sm">
        <ErrorText error={error} />
      </div>
    );
  }
  if (!data) return <p className="p-3 text-sm text-muted">Looking at what it changed…</p>;
  const patches = patchesOf(data.patch);
  return (
    <div className="space-y-3 border-t border-line bg-shore/40 p-3 text-sm">
      {data.body && <p className="leading-relaxed whitespace-pre-wrap">{data.body}</p>}
      {patches.length === 0 && <p className="text-muted">It changed no file.</p>}
      {patches.map(({ path, patch }) => (
        <div key={path} className="overflow-hidden rounded-xl border border-line bg-raised">
          <h4 className="border-b border-line px-3 py-1.5 font-mono text-xs break-words">{path}</h4>
          <Patch patch={patch} path={path} />
        </div>
      ))}
      {data.truncated && <p className="text-muted">It goes on: it is too large to be shown whole.</p>}
    </div>
  );
}
