import { useState } from "react";
import type { Template } from "../api/types.ts";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Icon, type IconName } from "../ui/Icon.tsx";
import { CloneDialog } from "./CloneDialog.tsx";
import type { useBegin } from "./useBegin.ts";

/** The templates, 'Web app' in front. */
export const webAppFirst = (templates: Template[] = []) =>
  templates.toSorted((one, other) => Number(other.name === "webapp") - Number(one.name === "webapp"));

type Props = {
  /** Undefined while they are asked for. */
  templates: Template[] | undefined;
  begin: ReturnType<typeof useBegin>;
  busy: boolean;
};

/** The ways to begin, the quickest first. */
export function Tiles({ templates, begin, busy }: Props) {
  const [asking, setAsking] = useState(false);
  const making = busy && !begin.variables?.message ? begin.variables?.agent : undefined;
  const [first, ...others] = webAppFirst(templates);

  const fromTemplate = ({ name, title, description }: Template, isFirst = false) => (
    <Tile
      key={name}
      title={title}
      text={making?.template === name ? "Making it…" : description}
      first={isFirst}
      busy={busy}
      onClick={() => begin.mutate({ agent: { template: name } })}
      icon="window"
    />
  );
  return (
    <section aria-label="Begin">
      <div className="grid gap-3.5 sm:grid-cols-3">
        {!templates && <div aria-hidden="true" className="tide min-h-32 rounded-3xl bg-sunken" />}
        {first && fromTemplate(first, true)}
        <Tile
          title="From a Git URL"
          text="Any https address, public or private."
          busy={busy}
          onClick={() => {
            begin.reset();
            setAsking(true);
          }}
          icon="branch"
        />
        <Tile
          title="Blank"
          text={making && !making.template && !making.clone_url ? "Making it…" : "An empty computer, and you say the rest."}
          busy={busy}
          onClick={() => begin.mutate({ agent: { title: "Blank", pinned: true } })}
          icon="blank"
        />
        {others.map((template) => fromTemplate(template))}
      </div>
      {!asking && begin.error && (
        <div className="mt-3">
          <ErrorText error={begin.error} />
        </div>
      )}
      <CloneDialog
        open={asking}
        busy={busy}
        error={begin.error}
        onClose={() => setAsking(false)}
        onMake={(agent) => begin.mutate({ agent })}
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
      className={`flex items-center gap-4 rounded-3xl border p-4 text-left transition focus-visible:rounded-3xl disabled:opacity-60 sm:min-h-32 sm:flex-col sm:items-start sm:gap-0 sm:p-5 ${look}`}
    >
      <Icon name={icon} className={`size-7 ${first ? "" : "text-sea"}`} />
      <span className="min-w-0 sm:mt-auto sm:pt-5">
        <span className="block font-display text-lg font-semibold">{title}</span>
        <span className={`block text-sm leading-relaxed text-pretty sm:mt-1 ${first ? "opacity-90" : "text-muted"}`}>
          {text}
        </span>
      </span>
    </button>
  );
}
