import { useQuery } from "@tanstack/react-query";
import { agentsQuery, sandboxesQuery, systemQuery, templatesQuery } from "../api/queries.ts";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Mark } from "../ui/Mark.tsx";
import { Notice } from "../ui/Notice.tsx";
import { ThemeButton } from "../ui/ThemeButton.tsx";
import { AgentList } from "./AgentList.tsx";
import { Tiles } from "./Tiles.tsx";

export function HomePage() {
  const { data: system } = useQuery(systemQuery);
  const { data: templates = [] } = useQuery(templatesQuery);
  const { data: agents, error } = useQuery(agentsQuery);
  const { data: boxes = [] } = useQuery(sandboxesQuery);
  return (
    <div className="mx-auto flex min-h-full max-w-4xl flex-col px-5 sm:px-8">
      <header className="flex items-center gap-2 py-5">
        <Mark />
        <span className="flex-1 text-base font-semibold tracking-tight">Limpet</span>
        <ThemeButton />
      </header>
      <main className="flex-1 space-y-8 py-6 sm:py-12">
        <h1 className="text-3xl font-semibold tracking-tight text-balance sm:text-4xl">
          What shall we build?
        </h1>
        {system?.isolation.kind === "none" && (
          <Notice title="No isolation">
            Sandboxes run as you and can read and change what you can.{" "}
            {system.isolation.reason && `${system.isolation.reason}. `}
            <code>limpet doctor</code> says how to mend it.
          </Notice>
        )}
        <Tiles templates={templates} />
        <ErrorText error={error} />
        <section aria-label="Your agents">
          <h2 className="mb-3 font-semibold">Your agents</h2>
          {agents && agents.length > 0 && <AgentList agents={agents} boxes={boxes} />}
          {agents?.length === 0 && (
            <p className="leading-relaxed text-muted">
              None yet. One click on a tile makes the first: its work is saved by itself and always
              comes back.
            </p>
          )}
        </section>
      </main>
      <footer className="py-6 text-xs text-muted">
        {system && `Limpet ${system.version} · snapshots in ${system.store.where}`}
      </footer>
    </div>
  );
}
