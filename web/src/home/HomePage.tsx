import { useQuery } from "@tanstack/react-query";
import { agentsQuery, sandboxesQuery, systemQuery, templatesQuery } from "../api/queries.ts";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Mark } from "../ui/Mark.tsx";
import { Notice } from "../ui/Notice.tsx";
import { ThemeButton } from "../ui/ThemeButton.tsx";
import { AgentList } from "./AgentList.tsx";
import { greeting } from "./greeting.ts";
import { Rings } from "./Rings.tsx";
import { Tiles } from "./Tiles.tsx";

const hello = greeting(new Date().getHours());

export function HomePage() {
  const { data: system } = useQuery(systemQuery);
  const { data: templates, error: noTemplates } = useQuery(templatesQuery);
  const { data: agents, error } = useQuery(agentsQuery);
  const { data: boxes = [] } = useQuery(sandboxesQuery);
  return (
    <div className="relative min-h-full overflow-hidden">
      <title>Limpet</title>
      <Rings className="pointer-events-none absolute top-16 -right-80 size-[38rem] sm:top-10 sm:-right-96 sm:size-[56rem] xl:-right-80" />
      <div className="relative mx-auto flex min-h-dvh max-w-4xl flex-col px-5 sm:px-8">
        <header className="flex items-center gap-2.5 py-5">
          <Mark />
          <span className="flex-1 font-display text-xl font-semibold tracking-tight">Limpet</span>
          <ThemeButton />
        </header>
        <main className="flex-1 space-y-10 pt-8 pb-10 sm:pt-16">
          <div>
            <p className="text-lg text-muted">{hello}</p>
            <h1 className="mt-1 font-display text-4xl leading-tight font-semibold tracking-tight text-balance sm:text-5xl">
              What shall we build?
            </h1>
          </div>
          {system?.isolation.kind === "none" && (
            <Notice title="No isolation">
              Sandboxes run as you and can read and change what you can.{" "}
              {system.isolation.reason && `${system.isolation.reason.replace(/\.$/, "")}. `}
              <code>limpet doctor</code> says how to mend it.
            </Notice>
          )}
          <Tiles templates={templates} />
          <ErrorText error={error ?? noTemplates} />
          {agents && (
            <section aria-labelledby="agents">
              <h2 id="agents" className="mb-3 font-display text-xl font-semibold">
                Your agents
              </h2>
              {agents.length > 0 ? (
                <AgentList agents={agents} boxes={boxes} />
              ) : (
                <p className="max-w-prose leading-relaxed text-pretty text-muted">
                  None yet. One click on a tile makes the first. Its computer saves itself, and always
                  comes home with every file in place.
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
