import { useQuery } from "@tanstack/react-query";
import { systemQuery } from "../api/queries.ts";
import { SidebarButton } from "../frame/SidebarButton.tsx";
import { RetentionForm } from "../settings/RetentionForm.tsx";
import { Section } from "../settings/Section.tsx";
import { DoctorSection } from "./DoctorSection.tsx";
import { ModelsSection } from "./ModelsSection.tsx";
import { RunningSection } from "./RunningSection.tsx";
import { StoreSection } from "./StoreSection.tsx";

/** What this server does and holds, for whoever runs it. */
export function AdminPage() {
  const { data: system } = useQuery(systemQuery);
  return (
    <main className="@container mx-auto max-w-6xl px-5 pt-3 pb-14 sm:px-8 lg:pt-10">
      <title>Admin · Limpet</title>
      <header className="mb-8 flex items-start gap-2">
        <SidebarButton />
        <div className="min-w-0">
          <h1 className="font-display text-3xl font-semibold tracking-tight">Admin</h1>
          {system && (
            <p className="mt-1 text-sm break-words text-muted">
              Limpet {system.version}, runner {system.runner}, data in <span className="font-mono">{system.data_dir}</span>
            </p>
          )}
        </div>
      </header>
      <div className="space-y-9">
        <RunningSection />
        <StoreSection />
        <Section
          title="Retention"
          explanation="How many snapshots are kept of each branch, for all agents that say nothing of their own. Named ones stay until they are deleted."
        >
          <RetentionForm />
        </Section>
        <ModelsSection />
        <DoctorSection />
      </div>
    </main>
  );
}
