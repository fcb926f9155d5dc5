import { useNavigate } from "@tanstack/react-router";
import { type ReactNode, useState } from "react";
import { type NewAgent, ORG, useCreateAgent } from "../api/queries.ts";
import type { Template } from "../api/types.ts";
import { ErrorText } from "../ui/ErrorText.tsx";
import { CloneDialog } from "./CloneDialog.tsx";

/** The ways to begin, the quickest first. */
export function Tiles({ templates }: { templates: Template[] }) {
  const create = useCreateAgent();
  const navigate = useNavigate();
  const [asking, setAsking] = useState(false);

  function make(wanted: NewAgent) {
    create.mutate(wanted, {
      onSuccess: (agent) =>
        navigate({ to: "/$org/agents/$agentId", params: { org: ORG, agentId: agent.id } }),
    });
  }

  return (
    <section aria-label="Begin">
      <div className="grid gap-3 sm:grid-cols-2 lg:grid-cols-3">
        {templates.map((template) => (
          <Tile
            key={template.name}
            title={template.title}
            text={template.description}
            busy={create.isPending}
            onClick={() => make({ template: template.name })}
            icon={<path d="M3.500 6.500h17v11h-17zM3.500 10h17M6.500 8.200h.01M9 8.200h.01" />}
          />
        ))}
        <Tile
          title="Clone a repository"
          text="Any https address, public or private."
          busy={create.isPending}
          onClick={() => setAsking(true)}
          icon={<path d="M7 5v9m0 0a2.500 2.500 0 1 0 0 5 2.500 2.500 0 0 0 0-5zm10-9.500a2.500 2.500 0 1 0 0 5 2.500 2.500 0 0 0 0-5zm0 5c0 4-4 4.500-7.500 6" />}
        />
      </div>
      {!asking && (
        <div className="mt-3">
          <ErrorText error={create.error} />
        </div>
      )}
      <CloneDialog
        open={asking}
        busy={create.isPending}
        error={create.error}
        onClose={() => setAsking(false)}
        onMake={make}
      />
    </section>
  );
}

type TileProps = { title: string; text: string; icon: ReactNode; busy: boolean; onClick: () => void };

function Tile({ title, text, icon, busy, onClick }: TileProps) {
  return (
    <button
      type="button"
      disabled={busy}
      onClick={onClick}
      className="flex flex-col rounded-2xl border border-line bg-raised p-5 text-left transition hover:border-sea disabled:opacity-60"
    >
      <svg viewBox="0 0 24 24" className="size-7 text-sea" fill="none" stroke="currentColor" strokeWidth="1.600" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true">
        {icon}
      </svg>
      <span className="mt-4 block font-semibold">{title}</span>
      <span className="mt-1 block leading-relaxed text-muted">{text}</span>
    </button>
  );
}
