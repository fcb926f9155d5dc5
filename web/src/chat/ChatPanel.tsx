import { useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useState } from "react";
import { threadsQuery } from "../api/threads.ts";
import type { Thread } from "../api/threadTypes.ts";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Button } from "../ui/Button.tsx";
import type { ChatProps } from "./Chat.tsx";
import { ConversationPane } from "./ConversationPane.tsx";
import { newId } from "./ids.ts";
import { ModelsDialog } from "./ModelsDialog.tsx";
import { ThreadList } from "./ThreadList.tsx";

const route = getRouteApi("/$org/agents/$agentId");
const NEW = "new";

/** The conversations with an agent on the branch that the page shows, one of them open. */
export function ChatPanel({ agent, home, wanted, onTaken }: ChatProps) {
  const { thread: asked } = route.useSearch();
  const navigate = route.useNavigate();
  const list = useInfiniteQuery(threadsQuery(agent.id));
  const [fresh, setFresh] = useState(newId);
  const [first, setFirst] = useState<string | null>(null);
  const [listing, setListing] = useState(false);
  const [models, setModels] = useState(false);

  const threads = list.data?.pages.flatMap((page) => page.threads) ?? [];
  const named = asked && asked !== NEW ? asked : null;
  // Which one opens by itself is settled once: a newer one elsewhere takes nobody away from here.
  if (!asked && first === null && list.data) {
    setFirst(threads.find(({ branch }) => branch === agent.default_branch)?.id ?? fresh);
  }
  const shown = named ?? (asked === NEW ? fresh : first);

  function open(thread: Thread | null) {
    setListing(false);
    if (!thread) setFresh(newId());
    void navigate({
      search: ({ main, branch }) => {
        const on = thread?.branch ?? branch;
        return {
          ...(main && { main }),
          ...(on && on !== home && { branch: on }),
          thread: thread?.id ?? NEW,
        };
      },
    });
  }

  /** A conversation was made by its first message: from now on the address names it. */
  function begun(thread: Thread) {
    void navigate({
      search: ({ main }) => ({
        ...(main && { main }),
        ...(thread.branch !== home && { branch: thread.branch }),
        thread: thread.id,
      }),
      replace: true,
    });
  }

  const known = threads.find(({ id }) => id === shown);
  return (
    <section aria-label="Conversation" className="flex h-full min-h-0 flex-col">
      {listing && wanted === null ? (
        <ThreadList
          agent={agent}
          shown={shown}
          onOpen={open}
          onClose={() => setListing(false)}
          onDeleted={(id) => id === shown && open(null)}
        />
      ) : shown === null ? (
        <div className="grid flex-1 place-items-center p-6 text-center text-muted">
          {list.error ? (
            <div className="space-y-3">
              <ErrorText error={list.error} />
              <Button onClick={() => void list.refetch()}>Try again</Button>
            </div>
          ) : (
            "Opening the conversation…"
          )}
        </div>
      ) : (
        <ConversationPane
          key={shown}
          agent={agent}
          thread={shown}
          listed={known}
          exists={named !== null || known !== undefined}
          others={threads.length > (known ? 1 : 0)}
          onList={() => setListing(true)}
          wanted={wanted}
          onTaken={onTaken}
          onBegun={begun}
          onNew={() => open(null)}
          onModels={() => setModels(true)}
        />
      )}
      {models && <ModelsDialog onClose={() => setModels(false)} />}
    </section>
  );
}
