import { type MutationState, queryOptions, useMutationState } from "@tanstack/react-query";
import { call } from "./client.ts";
import { useChange } from "./queries.ts";
import type { components } from "./schema.ts";
import type { McpServerTested } from "./types.ts";

const SERVERS = "/api/{org}/agents/{agent_id}/mcp-servers";
const testsOf = (agentId: string) => ["mcp-test", agentId];

/** The other MCP servers that an agent has tools of, by name. */
export const mcpServersQuery = (agentId: string) =>
  queryOptions({
    queryKey: ["mcp-servers", agentId],
    queryFn: async () => (await call("get", SERVERS, { path: { agent_id: agentId } })).servers,
  });

/** Adds a server, or changes the one of that name; left out, its headers stay. */
export const useSetMcpServer = (agentId: string) =>
  useChange((body: components["schemas"]["McpServerSetRest"]) =>
    call("post", SERVERS, { path: { agent_id: agentId }, body }),
  );

export const useDeleteMcpServer = (agentId: string) =>
  useChange((name: string) => call("delete", `${SERVERS}/{name}`, { path: { agent_id: agentId, name } }));

/** Asks a server for its tools; what it told is known for as long as the page is open. */
export const useTestMcpServer = (agentId: string) =>
  useChange((name: string) => call("post", `${SERVERS}/{name}/test`, { path: { agent_id: agentId, name } }), {
    mutationKey: testsOf(agentId),
    gcTime: Number.POSITIVE_INFINITY,
  });

/** How a server took the last test, whoever on this page asked for it. */
export const useLastMcpTest = (agentId: string, name: string) =>
  useMutationState({
    filters: { mutationKey: testsOf(agentId), predicate: ({ state }) => state.variables === name },
    select: ({ state }) => state as MutationState<McpServerTested, Error, string>,
  }).at(-1);
