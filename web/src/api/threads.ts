import {
  infiniteQueryOptions,
  type QueryClient,
  queryOptions,
  useMutation,
  useMutationState,
  useQueryClient,
} from "@tanstack/react-query";
import { send } from "./client.ts";
import { base, useChange } from "./queries.ts";
import type { ModelRef, Run, Thread, ThreadPage, ThreadSent, ThreadUndone } from "./threadTypes.ts";

const PAGE = 30;
const threadUrl = (id: string) => `${base}/threads/${encodeURIComponent(id)}`;

/** An agent's threads, the last used one first, page by page; all whose text has `search` in it. */
export const threadsQuery = (agentId: string, search = "") =>
  infiniteQueryOptions({
    queryKey: ["threads", agentId, search],
    queryFn: ({ pageParam }) => {
      const asked = new URLSearchParams({ agent_id: agentId, limit: String(PAGE) });
      if (search) asked.set("search", search);
      if (pageParam) asked.set("before", pageParam);
      return send<ThreadPage>("GET", `${base}/threads?${asked}`);
    },
    initialPageParam: "",
    getNextPageParam: ({ next }) => next,
  });

/** The turns of a thread: what can be undone, and what was. */
export const runsQuery = (thread: string) =>
  queryOptions({
    queryKey: ["thread-runs", thread],
    queryFn: async () => (await send<{ runs: Run[] }>("GET", `${threadUrl(thread)}/runs`)).runs,
  });

export const exportThreadUrl = (thread: string) => `${threadUrl(thread)}/export`;

/** What changes in a list when a thread does. */
export const threadsChanged = (client: QueryClient, agentId: string) =>
  client.invalidateQueries({ queryKey: ["threads", agentId] });

type Said = { message: string; text: string };
export type NewThread = {
  id: string;
  agent_id: string;
  branch?: string;
  model?: ModelRef;
  harness?: string;
};

type SayTold = {
  onSent: (sent: ThreadSent) => void;
  /** The server did not take it. */
  onRefused: (text: string) => void;
};

/** Makes a thread and says the first thing in it. */
export async function beginThread(fresh: NewThread, first: { id: string; text: string }) {
  await send<Thread>("POST", `${base}/threads`, fresh);
  return send<ThreadSent>("POST", `${threadUrl(fresh.id)}/messages`, first);
}

/** Says something in a thread, which is made first where it is not there yet.

Both carry ids of ours, so that trying again neither makes two threads nor says it twice; what is
said while the one before is on its way goes after it. */
export function useSay(thread: string, fresh: NewThread | null, told: SayTold) {
  const client = useQueryClient();
  return useMutation({
    mutationKey: sayKey(thread),
    scope: { id: `say ${thread}` },
    mutationFn: async ({ message, text }: Said) => {
      if (fresh) await send<Thread>("POST", `${base}/threads`, fresh);
      return send<ThreadSent>("POST", `${threadUrl(thread)}/messages`, { id: message, text });
    },
    onSuccess: (sent) => {
      told.onSent(sent);
      return threadsChanged(client, sent.thread.agent_id);
    },
    onError: (_, { text }) => told.onRefused(text),
  });
}

const sayKey = (thread: string) => ["say", thread];

/** What was said and has not been refused; some of it the stream has told already. */
export const useSaid = (thread: string) =>
  useMutationState({
    filters: {
      mutationKey: sayKey(thread),
      predicate: ({ state }) => state.status === "pending" || state.status === "success",
    },
    select: ({ state }) => ({ ...(state.variables as Said), at: state.submittedAt }),
  });

/** Ends the run that goes on; messages that wait are taken back unless they are kept. */
export const useStopRun = (thread: string) =>
  useChange((keepQueued: boolean) =>
    send<Thread>("POST", `${threadUrl(thread)}/stop`, { keep_queued: keepQueued }),
  );

export const useUndoTurn = (thread: string) =>
  useChange((run: string) => send<ThreadUndone>("POST", `${threadUrl(thread)}/undo`, { run }));

export const useForkTurn = (thread: string) =>
  useChange((wanted: { run: string; when: "before" | "after"; title?: string }) =>
    send<Thread>("POST", `${threadUrl(thread)}/fork`, wanted),
  );

type ThreadChange = {
  title?: string;
  model?: ModelRef | null;
  harness?: string;
  archived?: boolean;
};

export const useChangeThread = (thread: string) =>
  useChange((wanted: ThreadChange) => send<Thread>("PATCH", threadUrl(thread), wanted));

export const useDeleteThread = () =>
  useChange((thread: string) => send<unknown>("DELETE", threadUrl(thread)));
