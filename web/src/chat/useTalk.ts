import { useQuery } from "@tanstack/react-query";
import { useCallback, useMemo, useState } from "react";
import {
  type NewThread,
  runsQuery,
  useChangeThread,
  useSaid,
  useSay,
  useStopRun,
  useUndoTurn,
} from "../api/threads.ts";
import type { Harness, ModelRef, Thread } from "../api/threadTypes.ts";
import type { Agent } from "../api/types.ts";
import { newId } from "./ids.ts";
import { withUnheard } from "./unheard.ts";
import { useConversation } from "./useConversation.ts";

type Choice = { model: ModelRef | null; harness: Harness };

type Wanted = {
  agent: Agent;
  id: string;
  listed: Thread | undefined;
  exists: boolean;
  onBegun: (thread: Thread) => void;
  /** The server did not take what was said. */
  onRefused: (text: string) => void;
};

/** A conversation as its pane sees it, and what can be done with it. */
export function useTalk({ agent, id, listed, exists, onBegun, onRefused }: Wanted) {
  const talk = useConversation(id, exists);
  const { data: runs } = useQuery({ ...runsQuery(id), enabled: exists });
  const [choice, setChoice] = useState<Choice>({ model: null, harness: "decopilot" });
  const say = useSay(id, exists ? null : newThread(agent, id, choice), {
    onSent: (sent) => {
      if (!exists) onBegun(sent.thread);
    },
    onRefused,
  });
  const said = useSaid(id);
  const stop = useStopRun(id);
  const undo = useUndoTurn(id);
  const change = useChangeThread(id);

  const thread = talk.thread ?? listed ?? null;
  const turns = useMemo(() => withUnheard(talk.turns, said), [talk.turns, said]);
  const undone = useMemo(
    () => new Set(runs?.filter((run) => run.undone).map((run) => run.id)),
    [runs],
  );

  const { mutate } = say;
  const send = useCallback((text: string) => mutate({ message: newId(), text }), [mutate]);

  function choose(wanted: Partial<Choice>) {
    if (exists) change.mutate(wanted);
    else setChoice((now) => ({ ...now, ...wanted }));
  }

  return {
    ...talk,
    thread,
    turns,
    undone,
    running: thread?.status === "running" || turns.some(({ state }) => state === "running"),
    mayWrite: thread?.may_write ?? true,
    choice: thread ?? choice,
    choose,
    send,
    say,
    stop,
    undo,
    error: say.error ?? stop.error ?? undo.error ?? change.error,
  };
}

/** An agent with a source works on the branch that the page shows, any other on the thread's own. */
function newThread(agent: Agent, id: string, { model, harness }: Choice): NewThread {
  const hasSource = Boolean(agent.metadata.template ?? agent.metadata.clone_url);
  return {
    id,
    agent_id: agent.id,
    ...(hasSource && { branch: agent.default_branch }),
    ...(model && { model }),
    harness,
  };
}
