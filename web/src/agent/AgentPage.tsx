import * as Tabs from "@radix-ui/react-tabs";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { Suspense, useState } from "react";
import { ApiError } from "../api/client.ts";
import { agentQuery } from "../api/queries.ts";
import type { Agent } from "../api/types.ts";
import { Chat } from "../chat/Chat.tsx";
import { ChatDock } from "../chat/ChatDock.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Opening } from "../ui/Opening.tsx";
import { AgentHeader } from "./AgentHeader.tsx";
import { Banners } from "./Banners.tsx";
import { PANES } from "./panes.tsx";
import { StoreDialog } from "./StoreDialog.tsx";
import { useSandbox } from "./useSandbox.ts";
import { type View, VIEWS, viewCalled } from "./views.ts";
import { useWide } from "../ui/useWide.ts";

const pane = "min-h-0 flex-1 outline-none data-[state=inactive]:hidden";

/** Where there is no room for all tabs, the one that is shown is to be seen. */
const intoView = (tab: HTMLElement | null) => tab?.scrollIntoView({ block: "nearest", inline: "center" });

const route = getRouteApi("/$org/agents/$agentId");

export function AgentPage() {
  const { agentId } = route.useParams();
  const { branch } = route.useSearch();
  const { data: agent, error } = useQuery(agentQuery(agentId));
  if (agent) {
    const shown = branch ?? agent.default_branch;
    return <Opened key={`${agent.id} ${shown}`} agent={agent} branch={shown} />;
  }
  if (!error) return <Opening />;
  const missing = error instanceof ApiError && error.status === 404;
  return (
    <main className="grid h-full place-content-center gap-3 p-8 text-center">
      <h1 className="font-display text-xl font-semibold">
        {missing ? "This agent is not here" : "The agent could not be opened"}
      </h1>
      {missing ? <p className="text-muted">It was deleted, or the address is mistyped.</p> : <ErrorText error={error} />}
      <p>
        <Link to="/" className="text-sea underline underline-offset-4">
          Back home
        </Link>
      </p>
    </main>
  );
}

/** The agent as the page of one of its branches shows it: that branch is the one to work on. */
function Opened({ agent: whole, branch }: { agent: Agent; branch: string }) {
  const asked = route.useSearch().main;
  const navigate = route.useNavigate();
  const show = (view: View) =>
    void navigate({ search: (now) => ({ ...now, main: view }), replace: true });
  const home = branch === whole.default_branch;
  const agent = home ? whole : { ...whole, default_branch: branch };
  const view = useSandbox(agent);
  const [putOff, setPutOff] = useState<Error | null>(null);
  const { chat_side: chat, default_main_view: first } = agent.metadata.ui.layout;
  // The chat is in one place only: beside the rest where there is room, else a view of its own.
  const docked = useWide() && chat !== "none";
  const main = asked ?? viewCalled(first) ?? "preview";
  const shown = docked && main === "chat" ? "preview" : main;
  const [wanted, setWanted] = useState<string | null>(null);
  const panel = (
    <Chat agent={agent} home={whole.default_branch} wanted={wanted} onTaken={() => setWanted(null)} />
  );

  function ask(text: string) {
    setWanted(text);
    if (!docked) show("chat");
  }

  return (
    <div className="flex h-full flex-col">
      <title>{`${agent.title} · Limpet`}</title>
      <AgentHeader agent={agent} home={whole.default_branch} view={view} onShow={show} />
      <Banners agent={agent} view={view} onHistory={() => show("history")} />
      <div className={`flex min-h-0 flex-1 ${chat === "left" ? "flex-row-reverse" : ""}`}>
        <Tabs.Root
          asChild
          value={shown}
          onValueChange={(chosen) => show(chosen as View)}
          activationMode="manual"
        >
          <main className="flex min-w-0 flex-1 flex-col">
            <Tabs.List aria-label="Views" className="flex shrink-0 gap-1 overflow-x-auto px-3 py-1.5 sm:px-4">
              {VIEWS.filter(({ name }) => name !== "chat" || !docked).map(({ name, label }) => (
                <Tabs.Trigger
                  key={name}
                  ref={name === shown ? intoView : undefined}
                  value={name}
                  className="rounded-full px-3.5 py-1.5 text-sm font-medium whitespace-nowrap text-muted transition hover:text-ink focus-visible:rounded-full focus-visible:-outline-offset-2 data-[state=active]:bg-sea-wash data-[state=active]:text-sea"
                >
                  {label}
                </Tabs.Trigger>
              ))}
            </Tabs.List>
            <div className="flex min-h-0 flex-1 flex-col overflow-hidden border-t border-line bg-raised sm:mx-3 sm:mb-3 sm:rounded-2xl sm:border">
              {VIEWS.map(({ name, label }) => {
                if (name === "chat") {
                  return (
                    !docked && (
                      <Tabs.Content key={name} value={name} className={pane}>
                        {panel}
                      </Tabs.Content>
                    )
                  );
                }
                const { Pane, stays } = PANES[name];
                return (
                  <Tabs.Content key={name} value={name} forceMount={stays || undefined} className={pane}>
                    <Suspense fallback={<p className="grid h-full place-items-center text-muted">Opening {label}…</p>}>
                      <Pane agent={agent} home={whole.default_branch} view={view} onAsk={ask} onShow={show} />
                    </Suspense>
                  </Tabs.Content>
                );
              })}
            </div>
          </main>
        </Tabs.Root>
        {docked && (
          <ChatDock agent={agent.id} side={chat}>
            {panel}
          </ChatDock>
        )}
      </div>
      <StoreDialog
        view={view}
        open={view.storeAway && view.startError !== putOff}
        onClose={() => setPutOff(view.startError)}
      />
    </div>
  );
}
