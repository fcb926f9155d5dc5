import { useQueries } from "@tanstack/react-query";
import { type KeyboardEvent, useRef } from "react";
import { listQuery, ROOT } from "../api/inside.ts";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Icon } from "../ui/Icon.tsx";
import { keyIn, type Row, rowsOf } from "./tree.ts";

type Props = {
  handle: string;
  open: ReadonlySet<string>;
  onOpenFolders: (paths: string[], open: boolean) => void;
  /** The row that keys and the buttons above act on. */
  chosen: string | null;
  onChoose: (path: string, folder: boolean) => void;
  /** The file in the editor. */
  shown: string | undefined;
  onShow: (path: string) => void;
  onRename: (path: string) => void;
  onDelete: (path: string) => void;
  /** Letters that say how a file differs from the last commit. */
  marks: ReadonlyMap<string, string>;
};

/** The repository as a tree; folders are listed when they are opened. */
export function FileTree(props: Props) {
  const { handle, open, onOpenFolders, chosen, onChoose, shown, onShow } = props;
  const folders = [ROOT, ...open];
  const lists = useQueries({ queries: folders.map((folder) => listQuery(handle, folder)) });
  const tree = useRef<HTMLDivElement>(null);
  const known = new Map(folders.map((folder, index) => [folder, lists[index]?.data]));
  const rows = rowsOf(known, open);
  const root = lists[0];
  const focused = rows.some(({ path }) => path === chosen) ? chosen : (rows[0]?.path ?? null);

  function folderWords(path: string): string {
    const list = lists[folders.indexOf(path)];
    if (list?.error && !list.data) return "cannot be listed";
    if (!list?.data) return "listing…";
    const { entries, total, truncated } = list.data;
    return truncated ? `${entries.length} of ${total} listed` : "";
  }

  function focus(path: string) {
    const at = rows.findIndex((row) => row.path === path);
    onChoose(path, rows[at]?.folder ?? false);
    (tree.current?.children[at] as HTMLElement | undefined)?.focus();
  }

  function act(row: Row) {
    onChoose(row.path, row.folder);
    if (row.folder) onOpenFolders([row.path], !row.open);
    else onShow(row.path);
  }

  function onKeyDown(event: KeyboardEvent<HTMLDivElement>, row: Row) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" || event.key === " ") act(row);
    else if (event.key === "F2") props.onRename(row.path);
    else if (event.key === "Delete") props.onDelete(row.path);
    else {
      const done = keyIn(rows, row.path, event.key);
      if (!done) return;
      if (done.act === "go") focus(done.path);
      else if (done.act === "openAll") onOpenFolders(done.paths, true);
      else onOpenFolders([done.path], done.act === "open");
    }
    event.preventDefault();
  }

  if (root?.error && !root.data) {
    return (
      <div className="p-4 text-sm">
        <ErrorText error={root.error} />
      </div>
    );
  }
  if (!root?.data) return <p className="p-4 text-sm text-muted">Listing the files…</p>;
  if (rows.length === 0) {
    return (
      <p className="p-4 text-sm leading-relaxed text-pretty text-muted">
        There are no files yet. Make one with the buttons above, upload some, or ask the agent.
      </p>
    );
  }
  return (
    <div ref={tree} role="tree" aria-label="Files" className="px-1.5 pb-3 text-sm">
      {rows.map((row) => (
        <div
          key={row.path}
          role="treeitem"
          aria-level={row.depth}
          aria-setsize={row.among}
          aria-posinset={row.place}
          aria-selected={row.path === shown}
          aria-expanded={row.folder ? row.open : undefined}
          tabIndex={row.path === focused ? 0 : -1}
          onClick={() => act(row)}
          onFocus={() => row.path !== chosen && onChoose(row.path, row.folder)}
          onKeyDown={(event) => onKeyDown(event, row)}
          style={{ paddingLeft: `${(row.depth - 1) * 0.85 + 0.4}rem` }}
          className={`flex h-7 cursor-pointer items-center gap-1.5 rounded-lg pr-2 focus-visible:rounded-lg focus-visible:-outline-offset-2 pointer-coarse:h-10 ${
            row.path === shown ? "bg-sea-wash text-sea" : row.path === chosen ? "bg-sunken" : "hover:bg-sunken"
          }`}
        >
          {row.folder ? (
            <Icon name="down" className={`size-3.5 text-muted transition ${row.open ? "" : "-rotate-90"}`} />
          ) : (
            <Icon name="file" className="size-3.5 text-muted" />
          )}
          <span className="min-w-0 truncate">{row.name}</span>
          {row.note && <span className="text-xs text-muted">{notes[row.note]}</span>}
          {row.open && <span className="shrink-0 text-xs text-muted">{folderWords(row.path)}</span>}
          {props.marks.has(row.path) && (
            <span className="ml-auto font-mono text-xs text-shell" title="Changed since the last commit">
              {props.marks.get(row.path)}
              <span className="sr-only">(changed since the last commit)</span>
            </span>
          )}
        </div>
      ))}
      {root.data.truncated && (
        <p className="p-2 text-xs text-muted">
          {root.data.total} entries are too many to list; the first ones are here.
        </p>
      )}
    </div>
  );
}

const notes = { link: "link", broken: "leads nowhere", other: "no file" };
