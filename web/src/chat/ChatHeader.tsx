import { useState } from "react";
import { exportThreadUrl } from "../api/threads.ts";
import type { Thread } from "../api/threadTypes.ts";
import { buttonLook } from "../ui/Button.tsx";
import { Icon } from "../ui/Icon.tsx";
import { Menu, MenuItem } from "../ui/Menu.tsx";
import { RenameDialog } from "./RenameDialog.tsx";
import { DeleteThread } from "./DeleteThread.tsx";
import { titleOf, usageDetail, usageWords } from "./words.ts";

type Props = {
  thread: Thread | null;
  /** Whether there are others to go to. */
  others: boolean;
  onList: () => void;
  onNew: () => void;
  onModels: () => void;
  onDeleted: () => void;
};

/** Which conversation this is, the way to the others, and what can be done with it. */
export function ChatHeader({ thread, others, onList, onNew, onModels, onDeleted }: Props) {
  const [asking, setAsking] = useState<"rename" | "delete" | null>(null);
  const title = thread ? titleOf(thread) : "New conversation";
  return (
    <header className="flex items-center gap-0.5 py-1 pr-1.5 pl-2">
      <div className="min-w-0 flex-1">
        {others ? (
          <button
            type="button"
            onClick={onList}
            aria-label={`${title}; all conversations`}
            title="All conversations"
            className="flex h-9 max-w-full items-center gap-2 rounded-full px-2.5 hover:bg-sunken focus-visible:rounded-full"
          >
            <Icon name="list" className="size-4.5 text-muted" />
            <h2 className="truncate text-sm font-semibold">{title}</h2>
          </button>
        ) : (
          <h2 className="truncate px-2.5 text-sm leading-9 font-semibold">{title}</h2>
        )}
      </div>
      {thread && thread.usage.requests > 0 && (
        <span className="hidden px-1 text-xs whitespace-nowrap text-muted tabular-nums sm:inline" title={usageDetail(thread.usage)}>
          {usageWords(thread.usage)}
        </span>
      )}
      {thread && (
        <button
          type="button"
          aria-label="New conversation"
          title="New conversation"
          onClick={onNew}
          className={buttonLook("quiet", "icon")}
        >
          <Icon name="plus" className="size-4.5" />
        </button>
      )}
      <Menu label="This conversation">
        {thread?.may_write && (
          <MenuItem onSelect={() => setAsking("rename")}>
            <Icon name="edit" className="size-4" /> Rename…
          </MenuItem>
        )}
        {thread && (
          <MenuItem onSelect={() => window.open(exportThreadUrl(thread.id), "_blank", "noopener")}>
            <Icon name="download" className="size-4" /> Export as JSON
          </MenuItem>
        )}
        <MenuItem onSelect={onModels}>
          <Icon name="key" className="size-4" /> Models and keys…
        </MenuItem>
        {thread?.may_write && (
          <MenuItem dangerous onSelect={() => setAsking("delete")}>
            <Icon name="cross" className="size-4" /> Delete…
          </MenuItem>
        )}
      </Menu>
      {thread && asking === "rename" && <RenameDialog thread={thread} onClose={() => setAsking(null)} />}
      {thread && asking === "delete" && (
        <DeleteThread thread={thread} onClose={() => setAsking(null)} onDeleted={onDeleted} />
      )}
    </header>
  );
}
