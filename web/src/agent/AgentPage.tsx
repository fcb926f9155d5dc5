import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useEffect, useRef } from "react";
import { useLive } from "../api/live.ts";
import { agentQuery, sandboxOfQuery, useStart } from "../api/queries.ts";
import type { Agent } from "../api/types.ts";
import { HistoryPane } from "../history/HistoryPane.tsx";
import { LogsPane } from "../logs/LogsPane.tsx";
import { PreviewPane } from "../preview/PreviewPane.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { AgentHeader } from "./AgentHeader.tsx";
import { Banners } from "./Banners.tsx";
import { ChatPanel } from "./ChatPanel.tsx";
import { rememberStopped, wasStopped } from "./startedByHand.ts";

export const VIEWS = ["preview", "history", "logs", "chat"] as const;
export type View = (typeof VIEWS)[number];
const labels: Record<View, string> = {
  preview: "Preview",
  history: "History",
  logs: "Logs",
  chat: "Chat",
};

const route = getRouteApi("/$org/agents/$agentId");

export function AgentPage() {
  const { agentId } = route.useParams();
  const { data: agent, error } = useQuery(agentQuery(agentId));
  if (agent) return <Opened key={agent.id} agent={agent} />;
  return (
    <main className="grid h-full place-items-center p-8">
      {error ? <ErrorText error={error} /> : <p className="text-muted">Opening…</p>}
    </main>
  );
}

function Opened({ agent }: { agent: Agent }) {
  const branch = agent.default_branch;
  const { main = "preview" } = route.useSearch();
  const navigate = route.useNavigate();
  const show = (view: View) => void navigate({ search: { main: view } });
  const { data: box, isSuccess } = useQuery(sandboxOfQuery(agent.id, branch));
  const live = useLive(agent.id, branch);
  const start = useStart(agent.id, branch);
  const begun = useRef(false);

  function startNow(withoutSnapshot: boolean) {
    rememberStopped(agent.id, false);
    start.mutate(withoutSnapshot);
  }

  const { mutate } = start;
  const asleep = isSuccess && (box === null || box?.state === "stopped" || box?.state === "failed");
  useEffect(() => {
    if (!asleep || begun.current || wasStopped(agent.id)) return;
    begun.current = true;
    mutate(false);
  }, [asleep, agent.id, mutate]);

  const chat = agent.metadata.ui.layout.chat_side;
  return (
    <div className="flex h-full flex-col">
      <AgentHeader
        agent={agent}
        box={box}
        connected={live.connected}
        starting={start.isPending}
        onStart={() => startNow(false)}
      />
      {box && <Banners agent={agent} box={box} onHistory={() => show("history")} />}
      <div className={`flex min-h-0 flex-1 ${chat === "left" ? "flex-row-reverse" : ""}`}>
        <main className="flex min-w-0 flex-1 flex-col">
          <div role="tablist" aria-label="Views" className="flex gap-1 px-3 pt-2">
            {VIEWS.map((view) => (
              <button
                key={view}
                type="button"
                role="tab"
                aria-selected={main === view}
                onClick={() => show(view)}
                className={`rounded-t-lg px-3.5 py-2 font-medium ${
                  main === view ? "bg-raised text-ink" : "text-muted hover:text-ink"
                } ${view === "chat" && chat !== "none" ? "lg:hidden" : ""}`}
              >
                {labels[view]}
              </button>
            ))}
          </div>
          <div role="tabpanel" aria-label={labels[main]} className="min-h-0 flex-1 bg-raised">
            {main === "history" && <HistoryPane agent={agent} running={box?.state === "running"} />}
            {main === "logs" && <LogsPane logs={live.logs} />}
            {main === "chat" && <ChatPanel />}
            <div className={main === "preview" ? "h-full" : "hidden"}>
              <PreviewPane
                agent={agent}
                box={box}
                live={live}
                startError={start.error}
                starting={start.isPending}
                onStart={startNow}
              />
            </div>
          </div>
        </main>
        {chat !== "none" && (
          <aside aria-label="Chat" className="hidden w-80 border-x border-line lg:block">
            <ChatPanel />
          </aside>
        )}
      </div>
    </div>
  );
}
