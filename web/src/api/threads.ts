import {
  infiniteQueryOptions,
  type QueryClient,
  queryOptions,
  useMutation,
  useMutationState,
  useQueryClient,
} from "@tanstack/react-query";
import { call, urlOf } from "./client.ts";
import { useChange } from "./queries.ts";
import type { components } from "./schema.ts";
import type { ThreadSent } from "./threadTypes.ts";

type Schemas = components["schemas"];

const PAGE = 30;
const THREADS = "/api/{org}/threads";
const THREAD = `${THREADS}/{thread_id}` as const;
const at = (thread: string) => ({ path: { thread_id: thread } });

/** An agent's threads, the last used one first, page by page; all whose text has `search` in it. */
export const threadsQuery = (agentId: string, search = "") =>
  infiniteQueryOptions({
    queryKey: ["threads", agentId, search],
    queryFn: ({ pageParam }) =>
      call("get", THREADS, {
        query: { agent_id: agentId, limit: PAGE, search: search || undefined, before: pageParam || undefined },
      }),
    initialPageParam: "",
    getNextPageParam: ({ next }) => next,
  });

/** The turns of a thread: what can be undone, and what was. */
export const runsQuery = (thread: string) =>
  queryOptions({
    queryKey: ["thread-runs", thread],
    queryFn: async () => (await call("get", `${THREAD}/runs`, at(thread))).runs,
  });

export const exportThreadUrl = (thread: string) => urlOf(`${THREAD}/export`, at(thread));

/** What changes in a list when a thread does. */
export const threadsChanged = (client: QueryClient, agentId: string) =>
  client.invalidateQueries({ queryKey: ["threads", agentId] });

type Said = { message: string; text: string };
export type NewThread = Schemas["ThreadCreate"] & { id: string };

type SayTold = {
  onSent: (sent: ThreadSent) => void;
  /** The server did not take it. */
  onRefused: (text: string) => void;
};

/** Makes a thread and says the first thing in it. */
export async function beginThread(fresh: NewThread, first: { id: string; text: string }) {
  await call("post", THREADS, { body: fresh });
  return sayIn(fresh.id, first);
}

const sayIn = (thread: string, body: Schemas["ThreadSendRest"]) =>
  call("post", `${THREAD}/messages`, { ...at(thread), body });

/** Says something in a thread, which is made first where it is not there yet.

Both carry ids of ours, so that trying again neither makes two threads nor says it twice; what is
said while the one before is on its way goes after it. */
export function useSay(thread: string, fresh: NewThread | null, told: SayTold) {
  const client = useQueryClient();
  return useMutation({
    mutationKey: sayKey(thread),
    scope: { id: `say ${thread}` },
    mutationFn: async ({ message, text }: Said) => {
      if (fresh) await call("post", THREADS, { body: fresh });
      return sayIn(thread, { id: message, text });
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
    call("post", `${THREAD}/stop`, { ...at(thread), body: { keep_queued: keepQueued } }),
  );

export const useUndoTurn = (thread: string) =>
  useChange((run: string) => call("post", `${THREAD}/undo`, { ...at(thread), body: { run } }));

export const useForkTurn = (thread: string) =>
  useChange((body: Pick<Schemas["ThreadForkRest"], "run" | "when" | "title">) =>
    call("post", `${THREAD}/fork`, { ...at(thread), body }),
  );

export const useChangeThread = (thread: string) =>
  useChange((body: Schemas["ThreadUpdateRest"]) => call("patch", THREAD, { ...at(thread), body }));

export const useDeleteThread = () => useChange((thread: string) => call("delete", THREAD, at(thread)));
