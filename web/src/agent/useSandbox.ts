import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { ApiError } from "../api/client.ts";
import type { Live } from "../api/live.ts";
import { sandboxOfQuery, useStart, useStop } from "../api/queries.ts";
import { wasStartedAhead } from "../api/starts.ts";
import type { Agent, Sandbox } from "../api/types.ts";
import { useLive } from "../api/useLive.ts";
import { startsByItself } from "./startRules.ts";

/** An agent's sandbox as its page sees it, and what can be done with it. */
export type SandboxView = {
  box: Sandbox | null | undefined;
  live: Live;
  starting: boolean;
  /** When the start under way began, in milliseconds; else when it was started. */
  startedAt: number | null;
  startError: Error | null;
  /** The store did not answer: the user has to choose. */
  storeAway: boolean;
  stopping: boolean;
  stopError: Error | null;
  start: (withoutSnapshot: boolean) => void;
  stop: (force: boolean) => void;
  /** Stop it after a save and start it again. */
  restart: () => void;
};

export function useSandbox(agent: Agent): SandboxView {
  const branch = agent.default_branch;
  const { data: box, isFetchedAfterMount: isFresh } = useQuery(sandboxOfQuery(agent.id, branch));
  const live = useLive(agent.id, branch);
  const starting = useStart(agent.id, branch);
  const stopping = useStop();
  const own = useRef<{ looks: number; known: boolean; starts: number[] }>({ looks: 0, known: false, starts: [] });

  const { mutate: begin, isPending } = starting;
  useEffect(() => {
    if (!wasStartedAhead(agent.id, branch)) return;
    own.current.starts.push(Date.now());
    begin(false);
  }, [agent.id, branch, begin]);
  useEffect(() => {
    // Only while the stream is open is it certain that the server answers.
    if (isPending || !live.connected || live.opened === 0 || !isFresh || box === undefined) return;
    const { looks, known, starts } = own.current;
    // What was started ahead was started because the page was to be opened.
    const first = starts.length === 0 ? "opened" : null;
    const look = looks === 0 ? first : looks < live.opened ? "reopened" : null;
    own.current.looks = live.opened;
    own.current.known = known || box !== null;
    const now = Date.now();
    if (!startsByItself({ box, look, known, starts, now })) return;
    starts.push(now);
    begin(false);
  }, [box, isFresh, live.connected, live.opened, isPending, begin]);

  function stop(force: boolean) {
    if (box) stopping.mutate({ handle: box.handle, force });
  }

  function restart() {
    if (!box) return;
    stopping.mutate({ handle: box.handle, force: false }, { onSuccess: () => begin(false) });
  }

  const problem = starting.error instanceof ApiError ? starting.error : null;
  return {
    box,
    live,
    starting: isPending,
    startedAt: startedAt(box, isPending, starting.submittedAt),
    startError: starting.error,
    storeAway: !isPending && problem?.code === "store_unreachable",
    stopping: stopping.isPending || box?.state === "stopping",
    stopError: stopping.error,
    start: begin,
    stop,
    restart,
  };
}

const LONGEST_START_MS = 5 * 60_000;

/** The server knows when a start was through; this page knows when its own one began. */
function startedAt(
  box: Sandbox | null | undefined,
  asked: boolean,
  askedAt: number,
): number | null {
  if (asked) return askedAt;
  if (!box?.started_at || box.state === "starting") return null;
  const through = Date.parse(box.started_at);
  const own = askedAt > 0 && askedAt <= through && through - askedAt < LONGEST_START_MS;
  return own ? askedAt : through;
}
