import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { eventsUrl, sandboxOfQuery } from "./queries.ts";
import type { Sandbox } from "./types.ts";

export type Phase = { kind: string; bytes?: number; total?: number; message?: string; hint?: string };
export type Lifecycle = { phase: string; error?: string; port?: number; htmlSupport?: boolean };

/** What the event stream has told of a sandbox so far. `reloads` counts dev servers that came up. */
export type Live = {
  connected: boolean;
  phase: Phase | null;
  lifecycle: Lifecycle | null;
  logs: Record<string, string>;
  reloads: number;
};

export const MAX_LOG_CHARACTERS = 200_000;
export const nothingYet: Live = {
  connected: false,
  phase: null,
  lifecycle: null,
  logs: {},
  reloads: 0,
};

/** The state after an event; pure. */
export function afterEvent(live: Live, name: string, data: unknown): Live {
  const told = (data ?? {}) as Record<string, unknown>;
  switch (name) {
    case "phase":
      return { ...live, phase: told as Phase };
    case "lifecycle":
      return { ...live, lifecycle: (told.state as Lifecycle | undefined) ?? null };
    case "log": {
      const source = String(told.source);
      const text = (live.logs[source] ?? "") + String(told.data ?? "");
      return { ...live, logs: { ...live.logs, [source]: text.slice(-MAX_LOG_CHARACTERS) } };
    }
    case "reload":
      return { ...live, reloads: live.reloads + 1 };
    case "resync":
      return { ...live, logs: {} };
    case "gone":
      return { ...live, lifecycle: null };
    default:
      return live;
  }
}

const NAMES = ["phase", "lifecycle", "log", "reload", "resync", "gone"];

/** Follows a sandbox's events for as long as the page shows it. */
export function useLive(agentId: string, branch: string): Live {
  const client = useQueryClient();
  useEffect(() => {
    const key = ["live", agentId, branch];
    const update = (change: (live: Live) => Live) =>
      client.setQueryData<Live>(key, (live) => change(live ?? nothingYet));
    const stream = new EventSource(eventsUrl(agentId, branch));
    stream.addEventListener("open", () => {
      // The stream begins with the present state and the logs so far.
      update(() => ({ ...nothingYet, connected: true }));
    });
    stream.addEventListener("error", () => update((live) => ({ ...live, connected: false })));
    for (const name of NAMES) {
      stream.addEventListener(name, (event) => {
        const data: unknown = JSON.parse((event as MessageEvent<string>).data || "{}");
        update((live) => afterEvent(live, name, data));
      });
    }
    stream.addEventListener("sandbox", (event) => {
      const box = JSON.parse((event as MessageEvent<string>).data) as Sandbox;
      client.setQueryData(sandboxOfQuery(agentId, branch).queryKey, box);
      void client.invalidateQueries({ queryKey: ["snapshots", agentId] });
    });
    return () => stream.close();
  }, [client, agentId, branch]);
  const { data } = useQuery({
    queryKey: ["live", agentId, branch],
    queryFn: () => nothingYet,
    staleTime: Number.POSITIVE_INFINITY,
    initialData: nothingYet,
  });
  return data;
}
