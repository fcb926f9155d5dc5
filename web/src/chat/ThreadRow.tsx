import { useState } from "react";
import type { Thread } from "../api/threadTypes.ts";
import { Icon } from "../ui/Icon.tsx";
import { Menu, MenuItem } from "../ui/Menu.tsx";
import { ago } from "../ui/time.ts";
import { useNow } from "../ui/useNow.ts";
import { DeleteThread } from "./DeleteThread.tsx";
import { RenameDialog } from "./RenameDialog.tsx";
import { titleOf } from "./words.ts";

type Props = {
  thread: Thread;
  /** The branch that the page shows. */
  here: string;
  shown: boolean;
  onOpen: () => void;
  onDeleted: () => void;
};

const states = { idle: "", running: "at work", failed: "did not end well" };
const tones = { idle: "", running: "text-sea", failed: "text-bad" };

/** One conversation in the list. */
export function ThreadRow({ thread, here, shown, onOpen, onDeleted }: Props) {
  const now = useNow();
  const [asking, setAsking] = useState<"rename" | "delete" | null>(null);
  const { status, branch } = thread;
  return (
    <li className={`flex items-center rounded-xl ${shown ? "bg-sea-wash" : "hover:bg-sunken"}`}>
      <button
        type="button"
        onClick={onOpen}
        aria-current={shown || undefined}
        className="min-w-0 flex-1 rounded-xl px-3 py-2 text-left focus-visible:-outline-offset-2"
      >
        <span className="block truncate text-sm font-medium">{titleOf(thread)}</span>
        <span className="flex items-center gap-1.5 text-xs text-muted">
          <span className="shrink-0">{ago(thread.updated_at, now)}</span>
          {status !== "idle" && <span className={`shrink-0 ${tones[status]}`}>{states[status]}</span>}
          {branch !== here && (
            <span className="inline-flex min-w-0 items-center gap-1 font-mono">
              <Icon name="branch" className="size-3" />
              <span className="truncate">{branch}</span>
            </span>
          )}
          {!thread.may_write && <span className="truncate">by {thread.created_by}</span>}
        </span>
      </button>
      {thread.may_write && (
        <Menu label={`More on ${titleOf(thread)}`}>
          <MenuItem onSelect={() => setAsking("rename")}>
            <Icon name="edit" className="size-4" /> Rename…
          </MenuItem>
          <MenuItem dangerous onSelect={() => setAsking("delete")}>
            <Icon name="cross" className="size-4" /> Delete…
          </MenuItem>
        </Menu>
      )}
      {asking === "rename" && <RenameDialog thread={thread} onClose={() => setAsking(null)} />}
      {asking === "delete" && (
        <DeleteThread thread={thread} onClose={() => setAsking(null)} onDeleted={onDeleted} />
      )}
    </li>
  );
}
