import { type QueryClient, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { follow } from "./follow.ts";
import { Refresher, touchedBy } from "./insideEvents.ts";
import { afterEvents, afterOpening, type Live, nothingYet, PAGE_LOG, sandboxAmong, withLog } from "./live.ts";
import { sandboxOfQuery, snapshotsQuery } from "./queries.ts";
import type { Sandbox } from "./types.ts";

const keyOf = (agentId: string, branch: string) => ["live", agentId, branch];

/** Follows a sandbox's events for as long as the page shows it: one connection, one state. */
export function useLive(agentId: string, branch: string): Live {
  const client = useQueryClient();
  useEffect(() => {
    const stop = new AbortController();
    const refresher = new Refresher(
      client,
      () => client.getQueryData(sandboxOfQuery(agentId, branch).queryKey)?.handle,
    );
    const update = (change: (live: Live) => Live) =>
      client.setQueryData<Live>(keyOf(agentId, branch), (live) => change(live ?? nothingYet));
    void follow(
      { of: "sandbox", agentId, branch },
      {
        onOpen: (resumed) => {
          update((live) => afterOpening(live, resumed));
          void client.invalidateQueries(sandboxOfQuery(agentId, branch));
          if (resumed) refresher.retry();
          else refresher.tell("everything");
        },
        onEvents: (events) => {
          const box = sandboxAmong(events);
          if (box) tellSandbox(client, box);
          update((live) => afterEvents(live, events));
          refresher.tell(touchedBy(events));
        },
        onLost: () => update((live) => ({ ...live, connected: false })),
        onRefused: (refused) => {
          update((live) => ({ ...live, connected: false, refused }));
          if (refused === 401) void client.invalidateQueries({ queryKey: ["system"] });
        },
      },
      stop.signal,
    );
    return () => {
      stop.abort();
      refresher.stop();
    };
  }, [client, agentId, branch]);
  const { data } = useQuery({
    queryKey: keyOf(agentId, branch),
    queryFn: () => nothingYet,
    staleTime: Number.POSITIVE_INFINITY,
    initialData: nothingYet,
  });
  return data;
}

/** Puts a line into the log of the page that the preview shows. */
export function addToPageLog(client: QueryClient, agentId: string, branch: string, line: string) {
  client.setQueryData<Live>(keyOf(agentId, branch), (live) =>
    withLog(live ?? nothingYet, PAGE_LOG, `${line}\n`),
  );
}

function tellSandbox(client: QueryClient, box: Sandbox) {
  const key = sandboxOfQuery(box.agent_id, box.branch).queryKey;
  const before = client.getQueryData(key);
  client.setQueryData(key, box);
  const saved = (one: Sandbox | null | undefined) =>
    [one?.last_save?.id, ...(one?.side_snapshots.map(({ id }) => id) ?? [])].join();
  if (saved(before) !== saved(box)) {
    void client.invalidateQueries(snapshotsQuery({ agentId: box.agent_id, branch: box.branch }));
  }
}
