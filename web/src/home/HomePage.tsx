import { useQuery } from "@tanstack/react-query";
import { agentsQuery, sandboxesQuery, systemQuery, templatesQuery } from "../api/queries.ts";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Mark } from "../ui/Mark.tsx";
import { Notice } from "../ui/Notice.tsx";
import { SidebarButton } from "../frame/SidebarButton.tsx";
import { useFrame } from "../frame/frameContext.ts";
import { AgentList } from "./AgentList.tsx";
import { greeting } from "./greeting.ts";
import { Rings } from "./Rings.tsx";
import { PromptBox } from "./PromptBox.tsx";
import { Tiles, webAppFirst } from "./Tiles.tsx";
import { useBegin } from "./useBegin.ts";

const hello = greeting(new Date().getHours());

/** With a capital and a full stop. */
const sentence = (text: string) => `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, "")}.`;

export function HomePage() {
  const { data: system } = useQuery(systemQuery);
  const { data: templates, error: noTemplates } = useQuery(templatesQuery);
  const { data: agents, error } = useQuery(agentsQuery);
  const { data: boxes, error: noBoxes } = useQuery(sandboxesQuery);
  const { beside } = useFrame();
  const begin = useBegin();
  const [first] = webAppFirst(templates);
  const busy = begin.isPending || begin.isSuccess;
  return (
    <div className="relative min-h-full overflow-hidden">
      <title>Limpet</title>
      <Rings className="pointer-events-none absolute top-16 -right-80 size-[38rem] sm:top-10 sm:-right-96 sm:size-[56rem] xl:-right-80" />
      <div className="relative mx-auto flex min-h-dvh max-w-5xl flex-col px-5 sm:px-8">
        {!beside && (
          <header className="flex items-center gap-2 py-3">
            <SidebarButton />
            <Mark />
            <span className="font-display text-xl font-semibold tracking-tight">Limpet</span>
          </header>
        )}
        <main className="flex-1 space-y-10 pt-6 pb-10 sm:pt-14">
          <div>
            <p className="text-lg text-muted">{hello}</p>
            <h1 className="mt-1 font-display text-4xl leading-tight font-semibold tracking-tight text-balance sm:text-5xl">
              What shall we build?
            </h1>
          </div>
          {system?.isolation.kind === "none" && (
            <Notice title="No isolation">
              Sandboxes run as you and can read and change what you can.{" "}
              {system.isolation.reason && `${sentence(system.isolation.reason)} `}
              <code>limpet doctor</code> says how to mend it.
            </Notice>
          )}
          <div className="space-y-5">
            <PromptBox
              busy={busy}
              what={first?.title ?? "new agent"}
              onSend={(message, taken) =>
                begin.mutate({ agent: { template: first?.name ?? null }, message }, { onSuccess: taken })
              }
            />
            <Tiles templates={templates} begin={begin} busy={busy} />
            <ErrorText error={error ?? noTemplates ?? noBoxes} />
          </div>
          {agents && (boxes || noBoxes) && (
            <section aria-labelledby="agents">
              <h2 id="agents" className="mb-3 font-display text-xl font-semibold">
                Your agents
              </h2>
              {agents.length > 0 ? (
                <AgentList agents={agents} boxes={boxes ?? []} />
              ) : (
                <p className="max-w-md leading-relaxed text-pretty text-muted">
                  None yet. Say what you want to build, or click a tile. Each agent has a computer of its
                  own, which saves itself and always comes home with every file in place.
                </p>
              )}
            </section>
          )}
        </main>
        <footer className="border-t border-line py-5 text-xs text-muted">
          {system && `Limpet ${system.version} · snapshots in ${system.store.where}`}
        </footer>
      </div>
    </div>
  );
}
