import type { ReactNode } from "react";
import { endWords } from "../agent/endWords.ts";
import type { SandboxView } from "../agent/useSandbox.ts";
import { Button } from "../ui/Button.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Icon } from "../ui/Icon.tsx";
import { Mark } from "../ui/Mark.tsx";
import { useNow } from "../ui/useNow.ts";

type Props = {
  view: SandboxView;
  /** What can be done here once it runs. */
  purpose: string;
  /** What there is to know while it does not run. */
  meanwhile?: ReactNode;
  children: (handle: string) => ReactNode;
};

/** What only a running sandbox has; else how it is, and the way to start it. */
export function NeedsSandbox({ view, purpose, meanwhile, children }: Props) {
  const { box, live } = view;
  if (box === undefined) {
    return <p className="grid h-full place-items-center p-6 text-muted">Looking for the sandbox…</p>;
  }
  if (box?.state === "running" && !view.stopping) {
    return (
      <div className="flex h-full min-h-0 flex-col">
        {!live.connected && live.opened > 0 && (
          <output className="block bg-shell-wash px-4 py-1.5 text-sm text-shell">
            The connection is lost. It is taken up again by itself; what is here may be old.
          </output>
        )}
        <div className="min-h-0 flex-1">{children(box.handle)}</div>
      </div>
    );
  }
  return <NotThere view={view} purpose={purpose} meanwhile={meanwhile} />;
}

/** How a sandbox is that does not run, and the way to start it. */
function NotThere({ view, purpose, meanwhile }: Omit<Props, "children">) {
  const { box } = view;
  const why = endWords(box, useNow());
  const starting = view.starting || box?.state === "starting";
  const title = starting
    ? "The sandbox is starting"
    : view.stopping
      ? "Saving and stopping"
      : "The sandbox is not running";
  return (
    <div className="grid h-full place-items-center overflow-auto p-6">
      <div className="max-w-md text-center">
        <Mark className={`mx-auto size-14 ${starting || view.stopping ? "tide" : ""}`} />
        <h2 className="mt-5 font-display text-2xl font-semibold text-balance">{title}</h2>
        <p className="mt-2 leading-relaxed text-pretty text-muted">
          {view.stopping ? "Its work is kept." : [starting ? null : why, purpose].filter(Boolean).join(" ")}
        </p>
        {meanwhile}
        {!starting && !view.stopping && (
          <div className="mt-6 space-y-4">
            <Button look="main" onClick={() => view.start(false)}>
              <Icon name="play" className="size-4" /> Start
            </Button>
            <ErrorText error={view.startError} />
          </div>
        )}
      </div>
    </div>
  );
}
