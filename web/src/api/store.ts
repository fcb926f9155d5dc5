import { queryOptions } from "@tanstack/react-query";
import { call } from "./client.ts";
import { useChange } from "./queries.ts";
import type { components } from "./schema.ts";

/** What is kept of snapshots: of an agent, or of the org. */
export const retentionQuery = (agentId?: string) =>
  queryOptions({
    queryKey: ["retention", agentId ?? null],
    queryFn: () => call("get", "/api/{org}/retention", { query: { agent_id: agentId } }),
  });

type RetentionChange = Partial<Omit<components["schemas"]["RetentionSet"], "agent_id">>;

export const useSetRetention = (agentId?: string) =>
  useChange((wanted: RetentionChange) =>
    call("post", "/api/{org}/retention", { body: { reset: false, ...wanted, ...(agentId && { agent_id: agentId }) } }),
  );

/** What the org's snapshots come to. */
export const storeStatsQuery = queryOptions({
  queryKey: ["store-stats"],
  queryFn: () => call("get", "/api/{org}/store/stats"),
});

/** Measures anew instead of taking what may be some minutes old. */
export const useMeasureStore = () =>
  useChange(async () => {
    await call("get", "/api/{org}/store/stats", { query: { fresh: true } });
  });

/** Condemns what is not kept, and deletes what was condemned long enough ago. */
export const usePrune = () =>
  useChange((dryRun: boolean) => call("post", "/api/{org}/store/prune", { body: { dry_run: dryRun } }));

/** What running sandboxes take. */
export const figuresQuery = queryOptions({
  queryKey: ["figures"],
  queryFn: async () => (await call("get", "/api/{org}/sandbox-figures")).figures,
  refetchInterval: 10_000,
});

/** What is missing or wrong where the server runs. */
export const doctorQuery = (store: boolean) =>
  queryOptions({
    queryKey: ["doctor", store],
    queryFn: () => call("post", "/api/{org}/doctor", { body: { store } }),
    staleTime: 60_000,
  });
