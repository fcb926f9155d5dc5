import {
  type MutationState,
  queryOptions,
  useMutation,
  useMutationState,
  useQueryClient,
} from "@tanstack/react-query";
import { ApiError, call, ORG, send, urlOf } from "./client.ts";
import type { components } from "./schema.ts";
import { start } from "./starts.ts";
import type { PreviewSharing, Restored } from "./types.ts";

export { ORG } from "./client.ts";
export const base = `/api/${ORG}`;

export const systemQuery = queryOptions({
  queryKey: ["system"],
  queryFn: () => call("get", "/api/system"),
  staleTime: 60_000,
  refetchInterval: ({ state }) => (state.error instanceof ApiError && state.error.status === 0 ? 3_000 : false),
});

export const templatesQuery = queryOptions({
  queryKey: ["templates"],
  queryFn: async () => (await call("get", "/api/{org}/templates")).templates,
  staleTime: Number.POSITIVE_INFINITY,
});

export const agentsQuery = queryOptions({
  queryKey: ["agents"],
  queryFn: async () => (await call("get", "/api/{org}/agents")).agents,
});

export const agentQuery = (id: string) =>
  queryOptions({
    queryKey: ["agents", id],
    queryFn: () => call("get", "/api/{org}/agents/{agent_id}", { path: { agent_id: id } }),
  });

const sandboxes = async (agentId?: string) =>
  (await call("get", "/api/{org}/sandboxes", { query: { agent_id: agentId } })).sandboxes;

export const sandboxesQuery = queryOptions({
  queryKey: ["sandboxes"],
  queryFn: () => sandboxes(),
  refetchInterval: ({ state }) =>
    state.data?.some((box) => box.state !== "running" && box.state !== "stopped") ? 2_000 : 10_000,
});

export const sandboxOfQuery = (agentId: string, branch: string) =>
  queryOptions({
    queryKey: ["sandbox", agentId, branch],
    queryFn: async () => (await sandboxes(agentId)).find((box) => box.branch === branch) ?? null,
  });

/** The branches that an agent has sandboxes on. */
export const branchesQuery = (agentId: string) =>
  queryOptions({
    queryKey: ["branches", agentId],
    queryFn: async () => (await sandboxes(agentId)).map((box) => box.branch),
    staleTime: 30_000,
  });

/** Whose history: a branch of an agent. */
export type Place = { agentId: string; branch: string };

const SNAPSHOTS = "/api/{org}/agents/{agent_id}/snapshots";
const SNAPSHOT = `${SNAPSHOTS}/{snapshot_id}` as const;

export const snapshotsQuery = ({ agentId, branch }: Place) =>
  queryOptions({
    queryKey: ["snapshots", agentId, branch],
    queryFn: async () => (await call("get", SNAPSHOTS, { path: { agent_id: agentId }, query: { branch } })).snapshots,
  });

/** A mutation after which everything that is shown is asked for again. */
export function useChange<In, Out>(
  change: (given: In) => Promise<Out>,
  kept: { mutationKey?: string[]; gcTime?: number } = {},
) {
  const client = useQueryClient();
  return useMutation({
    ...kept,
    mutationFn: change,
    onSettled: () =>
      client.invalidateQueries({ predicate: ({ queryKey }) => queryKey[0] !== "live" }),
  });
}

export type NewAgent = components["schemas"]["AgentCreate"];

export const createAgent = (body: NewAgent) => call("post", "/api/{org}/agents", { body });

export type AgentChange = components["schemas"]["AgentUpdateRest"];

export const useChangeAgent = (id: string) =>
  useChange((body: AgentChange) =>
    call("patch", "/api/{org}/agents/{agent_id}", { path: { agent_id: id }, body }),
  );

export const useDeleteAgent = () =>
  useChange((id: string) => call("delete", "/api/{org}/agents/{agent_id}", { path: { agent_id: id } }));

export const useStart = (agentId: string, branch: string) =>
  useChange((withoutSnapshot: boolean) => start(agentId, branch, withoutSnapshot));

export const useStop = () =>
  useChange(({ handle, force }: { handle: string; force: boolean }) =>
    call("post", "/api/{org}/sandboxes/{handle}/stop", { path: { handle }, body: { force } }),
  );

const save = ({ agentId, branch }: Place, name?: string) =>
  call("post", SNAPSHOTS, { path: { agent_id: agentId }, body: { branch, ...(name && { name }) } });

export const useSave = (place: Place) => useChange((name: string) => save(place, name));

const restore = ({ agentId, branch }: Place, snapshot: string) =>
  call("post", `${SNAPSHOT}/restore`, { path: { agent_id: agentId, snapshot_id: snapshot }, body: { branch } });

const restoreKey = ({ agentId, branch }: Place) => ["restore", agentId, branch];

/** Goes back to a snapshot; how that ended is known for as long as the page is open. */
export const useRestore = (place: Place) =>
  useChange((snapshot: string) => restore(place, snapshot), {
    mutationKey: restoreKey(place),
    gcTime: Number.POSITIVE_INFINITY,
  });

/** How the last going back went, whoever on this page asked for it. */
export const useLastRestore = (place: Place) =>
  useMutationState({
    filters: { mutationKey: restoreKey(place) },
    select: ({ state }) => state as MutationState<Restored, Error>,
  }).at(-1);

/** Makes what a detached sandbox holds now the newest snapshot of the branch. */
export const useKeepInstead = (place: Place) =>
  useChange(async () => restore(place, (await save(place)).id));

/** Gives a snapshot a name, which keeps it; null takes the name away. */
export const useName = ({ agentId, branch }: Place) =>
  useChange(({ snapshot, name }: { snapshot: string; name: string | null }) =>
    call("patch", SNAPSHOT, { path: { agent_id: agentId, snapshot_id: snapshot }, body: { branch, name } }),
  );

export const useDeleteSnapshot = ({ agentId, branch }: Place) =>
  useChange((snapshot: string) =>
    call("delete", SNAPSHOT, { path: { agent_id: agentId, snapshot_id: snapshot }, query: { branch } }),
  );

type WantedFork = Pick<components["schemas"]["SnapshotForkRest"], "to_branch" | "new_agent">;

/** Lets another branch, or a new agent, begin with a snapshot. */
export const useFork = ({ agentId, branch }: Place, snapshot: string) =>
  useChange((wanted: WantedFork) =>
    call("post", `${SNAPSHOT}/fork`, {
      path: { agent_id: agentId, snapshot_id: snapshot },
      body: { branch, ...wanted },
    }),
  );

/** What the agent's sandboxes have: its own secrets, and its org's. */
export const secretsQuery = (agentId: string) =>
  queryOptions({
    queryKey: ["secrets", agentId],
    queryFn: async () => (await call("get", "/api/{org}/secrets", { query: { agent_id: agentId } })).secrets,
  });

export const useSetSecret = (agentId: string) =>
  useChange((wanted: { name: string; value: string }) =>
    call("post", "/api/{org}/secrets", { body: { ...wanted, agent_id: agentId } }),
  );

export const useDeleteSecret = (agentId: string) =>
  useChange((name: string) =>
    call("delete", "/api/{org}/secrets/{name}", { path: { name }, query: { agent_id: agentId } }),
  );

export const useRetryStep = (handle: string) =>
  useChange((step: "clone" | "install" | "start") =>
    send<{ enqueued: string }>("POST", `${base}/sandboxes/${handle}/daemon/setup/${step}`, {}),
  );

/** Who sees a sandbox's preview. */
export const previewQuery = (handle: string) =>
  queryOptions({
    queryKey: ["preview", handle],
    queryFn: () => call("get", "/api/{org}/sandboxes/{handle}/preview", { path: { handle } }),
  });

export const useSetAccess = (handle: string) =>
  useChange((access: PreviewSharing["access"]) =>
    call("patch", "/api/{org}/sandboxes/{handle}/preview", { path: { handle }, body: { access } }),
  );

/** Makes a link with which anybody sees a private preview at `at`. */
export const useMakeLink = (handle: string) =>
  useChange((body: { days: number; at: string }) =>
    call("post", "/api/{org}/sandboxes/{handle}/preview/links", { path: { handle }, body }),
  );

/** Ends all links, and puts out who came by one. */
export const useEndLinks = (handle: string) =>
  useChange<void, PreviewSharing>(() =>
    call("delete", "/api/{org}/sandboxes/{handle}/preview/links", { path: { handle } }),
  );

export const exportUrl = ({ agentId, branch }: Place, snapshot: string) =>
  urlOf(`${SNAPSHOT}/export`, { path: { agent_id: agentId, snapshot_id: snapshot }, query: { branch } });

/** Tells the server what the page in a sandbox's preview wrote to the console as errors. */
export const tellConsole = (handle: string, body: { errors: string[]; reset: boolean }) =>
  call("post", "/api/{org}/sandboxes/{handle}/console", { path: { handle }, body });
