import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { useState } from "react";
import { diffQuery } from "../api/inside.ts";
import type { ChangedFile } from "../api/insideTypes.ts";
import { Icon } from "../ui/Icon.tsx";
import type { Kind } from "./grouping.ts";
import { Patch } from "./Patch.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";

type Props = {
  handle: string;
  file: ChangedFile;
  kind: Kind;
  chosen: boolean;
  onChoose: (chosen: boolean) => void;
  onDiscard: () => void;
};

const icon =
  "grid size-8 shrink-0 place-items-center rounded-full text-muted hover:bg-sunken hover:text-ink pointer-coarse:size-10";

/** A changed file: chosen or not, its diff below it, and what can be done with it. */
export function ChangeRow({ handle, file, kind, chosen, onChoose, onDiscard }: Props) {
  const [open, setOpen] = useState(false);
  const { org, agentId } = useParams({ from: "/$org/agents/$agentId" });
  const { path, from } = file;
  const cut = path.lastIndexOf("/") + 1;
  return (
    <li>
      <div className="flex items-center gap-1 bg-shore/40 py-1 pr-1.5 pl-3 text-sm">
        <input
          type="checkbox"
          aria-label={`Commit ${path}`}
          checked={chosen}
          onChange={(event) => onChoose(event.target.checked)}
          className="size-4 shrink-0 accent-sea"
        />
        <button
          type="button"
          aria-expanded={open}
          title={from ? `${from} → ${path}` : path}
          onClick={() => setOpen(!open)}
          className="flex min-w-0 flex-1 items-center gap-1.5 rounded-lg px-1.5 py-1.5 text-left hover:bg-sunken focus-visible:-outline-offset-2"
        >
          <Icon name="down" className={`size-3.5 text-muted transition ${open ? "" : "-rotate-90"}`} />
          <span className={`shrink-0 truncate ${kind === "deleted" ? "line-through" : ""}`}>{path.slice(cut)}</span>
          <span className="min-w-0 truncate text-xs text-muted">
            {from ? `was ${from}` : path.slice(0, Math.max(0, cut - 1))}
          </span>
        </button>
        {kind !== "deleted" && (
          <Link
            to="/$org/agents/$agentId"
            params={{ org, agentId }}
            search={(now) => ({ ...now, main: "code" as const, file: path })}
            aria-label={`Open ${path} in the editor`}
            title="Open in the editor"
            className={icon}
          >
            <Icon name="edit" className="size-4" />
          </Link>
        )}
        <button type="button" aria-label={`Discard ${path}`} title="Discard…" onClick={onDiscard} className={icon}>
          <Icon name="undo" className="size-4" />
        </button>
      </div>
      {open && <FileDiff handle={handle} path={path} />}
    </li>
  );
}

function FileDiff({ handle, path }: { handle: string; path: string }) {
  const { data, error } = useQuery(diffQuery(handle, path));
  if (error) {
    return (
      <div className="p-3 text-sm">
        <ErrorText error={error} />
      </div>
    );
  }
  if (!data) return <p className="p-3 text-sm text-muted">Comparing…</p>;
  const { [path]: patch } = data.diffs;
  if (patch !== undefined) return <Patch patch={patch} path={path} />;
  return (
    <p className="p-3 text-sm text-muted">
      {data.files.includes(path) ? "It is too large to be shown." : "It is as in the last commit."}
    </p>
  );
}
