import { type QueryClient, queryOptions, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { follow } from "../api/follow.ts";
import { snapshotsQuery } from "../api/queries.ts";
import { runsQuery, threadsChanged } from "../api/threads.ts";
import { afterTold, type Conversation, nothingSaid } from "./conversation.ts";

const conversationQuery = (thread: string) =>
  queryOptions({
    queryKey: ["live", "thread", thread],
    queryFn: () => nothingSaid,
    staleTime: Number.POSITIVE_INFINITY,
    initialData: nothingSaid,
    // The reducer keeps what did not change as it is; comparing it all again would cost.
    structuralSharing: false,
  });

/** Follows a thread for as long as it is shown; what was heard before is not asked for again.

`known`: the server has the thread; until its first message it does not. */
export function useConversation(thread: string, known: boolean): Conversation {
  const client = useQueryClient();
  const { data } = useQuery(conversationQuery(thread));
  useEffect(() => {
    if (!known) return undefined;
    const stop = new AbortController();
    const key = conversationQuery(thread).queryKey;
    const update = (change: (now: Conversation) => Conversation) =>
      client.setQueryData<Conversation>(key, (now) => change(now ?? nothingSaid));
    void follow(
      { of: "thread", thread, after: client.getQueryData<Conversation>(key)?.seq ?? 0 },
      {
        onOpen: () =>
          update((now) => ({ ...now, connected: true, refused: null, opened: now.opened + 1 })),
        onEvents: (events) => {
          const before = client.getQueryData<Conversation>(key) ?? nothingSaid;
          const after = afterTold(
            before,
            events.map(({ event, data: text }) => [event, json(text)]),
          );
          client.setQueryData<Conversation>(key, after);
          refreshLists(client, before, after);
          if (after.gone) stop.abort();
        },
        onLost: () => update((now) => ({ ...now, connected: false })),
        onRefused: (refused) => {
          update((now) => ({ ...now, connected: false, refused }));
          if (refused === 401) void client.invalidateQueries({ queryKey: ["system"] });
        },
      },
      stop.signal,
    );
    return () => stop.abort();
  }, [client, thread, known]);
  return data;
}

/** What is shown elsewhere of the thread is asked for again when it has changed. */
function refreshLists(client: QueryClient, before: Conversation, after: Conversation) {
  const [old, now] = [before.thread, after.thread];
  if (!now || old === now) return;
  if (old?.updated_at !== now.updated_at || old.status !== now.status) {
    void client.invalidateQueries(runsQuery(now.id));
    // What a turn names its snapshots comes after they are made.
    void client.invalidateQueries(snapshotsQuery({ agentId: now.agent_id, branch: now.branch }));
    if (old) void threadsChanged(client, now.agent_id);
  }
}

function json(data: string): unknown {
  try {
    return JSON.parse(data) as unknown;
  } catch {
    return undefined;
  }
}
