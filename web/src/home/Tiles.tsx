import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { type NewAgent, ORG, useCreateAgent } from "../api/queries.ts";
import type { Template } from "../api/types.ts";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Icon, type IconName } from "../ui/Icon.tsx";
import { CloneDialog } from "./CloneDialog.tsx";

/** The ways to begin, the quickest first. Undefined while the templates are asked for. */
export function Tiles({ templates }: { templates: Template[] | undefined }) {
  const create = useCreateAgent();
  const navigate = useNavigate();
  const [asking, setAsking] = useState(false);

  function make(wanted: NewAgent) {
    create.mutate(wanted, {
      onSuccess: (agent) =>
        navigate({ to: "/$org/agents/$agentId", params: { org: ORG, agentId: agent.id } }),
    });
  }

  const making = create.isPending ? create.variables.template : undefined;
  const webappFirst = templates?.toSorted(
    (one, other) => Number(other.name === "webapp") - Number(one.name === "webapp"),
  );
  return (
    <section aria-label="Begin">
      <div className="grid gap-3.5 sm:grid-cols-2 lg:grid-cols-3">
        {!templates && <div aria-hidden="true" className="tide min-h-40 rounded-3xl bg-sunken" />}
        {webappFirst?.map(({ name, title, description }, index) => (
          <Tile
            key={name}
            title={title}
            text={making === name ? "Making it…" : description}
            first={index === 0}
            busy={create.isPending}
            onClick={() => make({ template: name })}
            icon="window"
          />
        ))}
        <Tile
          title="Clone a repository"
          text="Any https address, public or private."
          busy={create.isPending}
          onClick={() => {
            create.reset();
            setAsking(true);
          }}
          icon="branch"
        />
      </div>
      {!asking && create.error && (
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

type TileProps = {
  title: string;
  text: string;
  icon: IconName;
  first?: boolean;
  busy: boolean;
  onClick: () => void;
};

function Tile({ title, text, icon, first = false, busy, onClick }: TileProps) {
  const look = first
    ? "border-transparent bg-sea text-on-sea hover:opacity-90"
    : "border-line bg-raised hover:border-sea";
  return (
    <button
      type="button"
      disabled={busy}
      onClick={onClick}
      className={`flex min-h-40 flex-col items-start rounded-3xl border p-6 text-left transition focus-visible:rounded-3xl disabled:opacity-60 ${look}`}
    >
      <Icon name={icon} className={`size-8 ${first ? "" : "text-sea"}`} />
      <span className="mt-auto block pt-5 font-display text-lg font-semibold">{title}</span>
      <span className={`mt-1 block text-sm leading-relaxed text-pretty ${first ? "opacity-85" : "text-muted"}`}>
        {text}
      </span>
    </button>
  );
}
