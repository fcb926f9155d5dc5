import { keepPreviousData, useInfiniteQuery } from "@tanstack/react-query";
import { useDeferredValue, useState } from "react";
import { threadsQuery } from "../api/threads.ts";
import type { Thread } from "../api/threadTypes.ts";
import type { Agent } from "../api/types.ts";
import { Button, buttonLook } from "../ui/Button.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Icon } from "../ui/Icon.tsx";
import { ThreadRow } from "./ThreadRow.tsx";

type Props = {
  agent: Agent;
  shown: string | null;
  onOpen: (thread: Thread | null) => void;
  onClose: () => void;
  onDeleted: (id: string) => void;
};

/** All conversations with an agent: find one, open it, begin another. */
export function ThreadList({ agent, shown, onOpen, onClose, onDeleted }: Props) {
  const [sought, setSought] = useState("");
  const search = useDeferredValue(sought.trim());
  const { data, error, hasNextPage, isFetchingNextPage, fetchNextPage } = useInfiniteQuery({
    ...threadsQuery(agent.id, search),
    placeholderData: keepPreviousData,
  });
  const threads = data?.pages.flatMap((page) => page.threads);
  return (
    // oxlint-disable-next-line jsx-a11y/no-static-element-interactions -- Escape leads back from anywhere in it
    <div
      className="flex min-h-0 flex-1 flex-col"
      onKeyDown={(event) => {
        if (event.key === "Escape" && !event.defaultPrevented) onClose();
      }}
    >
      <header className="flex items-center gap-1 px-2 py-1">
        <button
          type="button"
          aria-label="Back to the conversation"
          title="Back"
          onClick={onClose}
          className={buttonLook("quiet", "icon")}
        >
          <Icon name="close" className="size-4.5" />
        </button>
        <h2 className="min-w-0 flex-1 truncate text-sm font-semibold">Conversations</h2>
        <Button onClick={() => onOpen(null)}>
          <Icon name="plus" className="size-4" /> New
        </Button>
      </header>
      <div className="px-3 pt-1 pb-2">
        <label className="flex items-center gap-2 rounded-full bg-sunken px-3.5 text-muted outline-sea focus-within:outline-2">
          <Icon name="search" className="size-4" />
          <input
            // oxlint-disable-next-line jsx-a11y/no-autofocus -- the list was asked for to find something
            autoFocus
            type="search"
            aria-label="Search in all conversations"
            placeholder="Titles and what was said"
            maxLength={200}
            value={sought}
            onChange={(event) => setSought(event.target.value)}
            className="h-9 min-w-0 flex-1 bg-transparent text-sm text-ink outline-none"
          />
        </label>
      </div>
      <div className="min-h-0 flex-1 overflow-auto px-2 pb-3">
        <div className="px-2">
          <ErrorText error={error} />
        </div>
        {threads?.length === 0 && (
          <p className="px-2 py-3 text-sm text-muted">
            {search ? "No conversation has that in it." : "None yet."}
          </p>
        )}
        {!threads && !error && <p className="px-2 py-3 text-sm text-muted">Looking…</p>}
        <ul aria-label="Conversations">
          {threads?.map((thread) => (
            <ThreadRow
              key={thread.id}
              thread={thread}
              here={agent.default_branch}
              shown={thread.id === shown}
              onOpen={() => onOpen(thread)}
              onDeleted={() => onDeleted(thread.id)}
            />
          ))}
        </ul>
        {hasNextPage && (
          <Button look="quiet" className="mt-1 w-full" disabled={isFetchingNextPage} onClick={() => void fetchNextPage()}>
            {isFetchingNextPage ? "Looking…" : "Older ones"}
          </Button>
        )}
      </div>
    </div>
  );
}
