import {
  type MutationState,
  queryOptions,
  useMutation,
  useMutationState,
  useQueryClient,
} from "@tanstack/react-query";
import { ApiError, call, ORG, send } from "./client.ts";
import type { components } from "./schema.ts";
import type {
  Agent,
  Forked,
  PreviewSharing,
  Restored,
  Sandbox,
  Secret,
  SecretChanged,
  Snapshot,
  Started,
  Template,
} from "./types.ts";

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
  queryFn: async () => (await send<{ templates: Template[] }>("GET", `${base}/templates`)).templates,
  staleTime: Number.POSITIVE_INFINITY,
});

export const agentsQuery = queryOptions({
  queryKey: ["agents"],
  queryFn: async () => (await send<{ agents: Agent[] }>("GET", `${base}/agents`)).agents,
});

export const agentQuery = (id: string) =>
  queryOptions({
    queryKey: ["agents", id],
    queryFn: () => call("get", "/api/{org}/agents/{agent_id}", { path: { agent_id: id } }),
  });

export const sandboxesQuery = queryOptions({
  queryKey: ["sandboxes"],
  queryFn: async () => (await send<{ sandboxes: Sandbox[] }>("GET", `${base}/sandboxes`)).sandboxes,
  refetchInterval: ({ state }) =>
    state.data?.some((box) => box.state !== "running" && box.state !== "stopped") ? 2_000 : 10_000,
});

export const sandboxOfQuery = (agentId: string, branch: string) =>
  queryOptions({
    queryKey: ["sandbox", agentId, branch],
    queryFn: async () => {
      const path = `${base}/sandboxes?agent_id=${encodeURIComponent(agentId)}`;
      const { sandboxes } = await send<{ sandboxes: Sandbox[] }>("GET", path);
      return sandboxes.find((box) => box.branch === branch) ?? null;
    },
  });

/** The branches that an agent has sandboxes on. */
export const branchesQuery = (agentId: string) =>
  queryOptions({
    queryKey: ["branches", agentId],
    queryFn: async () => {
      const path = `${base}/sandboxes?agent_id=${encodeURIComponent(agentId)}`;
      return (await send<{ sandboxes: Sandbox[] }>("GET", path)).sandboxes.map((box) => box.branch);
    },
    staleTime: 30_000,
  });

/** Whose history: a branch of an agent. */
export type Place = { agentId: string; branch: string };

const snapshotsUrl = ({ agentId }: Place) => `${base}/agents/${agentId}/snapshots`;

export const snapshotsQuery = (place: Place) =>
  queryOptions({
    queryKey: ["snapshots", place.agentId, place.branch],
    queryFn: async () => {
      const path = `${snapshotsUrl(place)}?${new URLSearchParams({ branch: place.branch })}`;
      return (await send<{ snapshots: Snapshot[] }>("GET", path)).snapshots;
    },
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
  useChange((id: string) => send<{ ok: true }>("DELETE", `${base}/agents/${id}`));

export const useStart = (agentId: string, branch: string) =>
  useChange((withoutSnapshot: boolean) =>
    send<Started>("POST", `${base}/vm/start`, { virtualMcpId: agentId, branch, withoutSnapshot }),
  );

export const useStop = () =>
  useChange(({ handle, force }: { handle: string; force: boolean }) =>
    send<{ sandbox: Sandbox }>("POST", `${base}/sandboxes/${handle}/stop`, { force }),
  );

export const useSave = (place: Place) =>
  useChange((name: string) =>
    send<Snapshot>("POST", snapshotsUrl(place), {
      branch: place.branch,
      ...(name ? { name } : {}),
    }),
  );

const restoreKey = ({ agentId, branch }: Place) => ["restore", agentId, branch];

/** Goes back to a snapshot; how that ended is known for as long as the page is open. */
export const useRestore = (place: Place) =>
  useChange(
    (snapshot: string) =>
      call("post", "/api/{org}/agents/{agent_id}/snapshots/{snapshot_id}/restore", {
        path: { agent_id: place.agentId, snapshot_id: snapshot },
        body: { branch: place.branch },
      }),
    { mutationKey: restoreKey(place), gcTime: Number.POSITIVE_INFINITY },
  );

/** How the last going back went, whoever on this page asked for it. */
export const useLastRestore = (place: Place) =>
  useMutationState({
    filters: { mutationKey: restoreKey(place) },
    select: ({ state }) => state as MutationState<Restored, Error>,
  }).at(-1);

/** Makes what a detached sandbox holds now the newest snapshot of the branch. */
export const useKeepInstead = (place: Place) =>
  useChange(async () => {
    const { branch } = place;
    const saved = await send<Snapshot>("POST", snapshotsUrl(place), { branch });
    return send<{ head: Snapshot }>("POST", `${snapshotsUrl(place)}/${saved.id}/restore`, { branch });
  });

/** Gives a snapshot a name, which keeps it; null takes the name away. */
export const useName = (place: Place) =>
  useChange(({ snapshot, name }: { snapshot: string; name: string | null }) =>
    send<Snapshot>("PATCH", `${snapshotsUrl(place)}/${snapshot}`, { branch: place.branch, name }),
  );

export const useDeleteSnapshot = (place: Place) =>
  useChange((snapshot: string) => {
    const query = new URLSearchParams({ branch: place.branch });
    return send<Snapshot>("DELETE", `${snapshotsUrl(place)}/${snapshot}?${query}`);
  });

type WantedFork = { to_branch?: string; new_agent?: { title?: string } };

/** Lets another branch, or a new agent, begin with a snapshot. */
export const useFork = (place: Place, snapshot: string) =>
  useChange((wanted: WantedFork) =>
    send<Forked>("POST", `${snapshotsUrl(place)}/${snapshot}/fork`, {
      branch: place.branch,
      ...wanted,
    }),
  );

/** What the agent's sandboxes have: its own secrets, and its org's. */
export const secretsQuery = (agentId: string) =>
  queryOptions({
    queryKey: ["secrets", agentId],
    queryFn: async () => {
      const path = `${base}/secrets?${new URLSearchParams({ agent_id: agentId })}`;
      return (await send<{ secrets: Secret[] }>("GET", path)).secrets;
    },
  });

export const useSetSecret = (agentId: string) =>
  useChange((wanted: { name: string; value: string }) =>
    send<SecretChanged>("POST", `${base}/secrets`, { ...wanted, agent_id: agentId }),
  );

export const useDeleteSecret = (agentId: string) =>
  useChange((name: string) => {
    const query = new URLSearchParams({ agent_id: agentId });
    return send<SecretChanged>("DELETE", `${base}/secrets/${encodeURIComponent(name)}?${query}`);
  });

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

export const exportUrl = (place: Place, snapshot: string) =>
  `${snapshotsUrl(place)}/${snapshot}/export?${new URLSearchParams({ branch: place.branch })}`;

/** Tells the server what the page in a sandbox's preview wrote to the console as errors. */
export const tellConsole = (handle: string, body: { errors: string[]; reset: boolean }) =>
  send<unknown>("POST", `${base}/sandboxes/${handle}/console`, body);
