import type { ReactNode } from "react";
import { useRetryStep } from "../api/queries.ts";
import type { Agent } from "../api/types.ts";
import { endWords } from "../agent/endWords.ts";
import type { SandboxView } from "../agent/useSandbox.ts";
import { Button } from "../ui/Button.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Icon } from "../ui/Icon.tsx";
import { Mark } from "../ui/Mark.tsx";
import { useNow } from "../ui/useNow.ts";
import { BootProgress } from "./BootProgress.tsx";
import { bootSteps, failedStep, type RetryStep, type Source } from "./boot.ts";
import type { PreviewState } from "./previewState.ts";

type Props = { agent: Agent; view: SandboxView; state: PreviewState };

/** What stands between here and the live page. */
export function BootScreen({ agent, view, state }: Props) {
  const { box, live } = view;
  switch (state) {
    case "opening":
      return null;
    case "stopping":
      return <Still title="Saving and stopping" text="It is on its way home." />;
    case "stopped":
      return <Stopped view={view} />;
    case "blank":
      return (
        <Still
          title="The sandbox runs"
          text="It has no source of its own, so there is nothing to preview yet."
        />
      );
    case "no-page":
      return (
        <Still
          title="The server runs, but there is no web page at its root"
          text="It may be an API. Its address works in a tab of its own."
        />
      );
    case "not-started":
      return <NotStarted agent={agent} view={view} />;
    default: {
      const step = failedStep(live.lifecycle);
      return (
        <Booting
          title={step ? failures[step] : state === "crashed" ? "The dev server stopped" : "Getting ready"}
          agent={agent}
          view={view}
        >
          {state === "crashed" && <p className="mt-5 text-muted">It is started again by itself.</p>}
          {step && box && (
            <Retry
              handle={box.handle}
              step={step}
              error={live.lifecycle?.error ?? ""}
              logged={Object.keys(live.logs).length > 0}
            />
          )}
        </Booting>
      );
    }
  }
}

const failures: Record<RetryStep, string> = {
  clone: "The repository could not be cloned",
  install: "The dependencies could not be installed",
  start: "The dev server does not start",
};

type BootingProps = { title: string; agent: Agent; view: SandboxView; children?: ReactNode };

function Booting({ title, agent, view, children }: BootingProps) {
  const { live } = view;
  return (
    <div className="grid h-full place-items-center overflow-auto p-6">
      <div className="w-full max-w-md">
        <h2 className="mb-6 font-display text-2xl font-semibold text-balance">{title}</h2>
        <BootProgress
          steps={bootSteps(live.phase, live.lifecycle, sourceOf(agent, view))}
          since={view.startedAt}
        />
        {children}
      </div>
    </div>
  );
}

function sourceOf(agent: Agent, { box, live }: SandboxView): Source {
  if (box?.last_save || live.phase?.kind === "restoring") return "snapshot";
  return agent.metadata.clone_url ? "clone" : "template";
}

function NotStarted({ agent, view }: { agent: Agent; view: SandboxView }) {
  const { box, live, startError } = view;
  const told = box?.last_error ?? (live.phase?.message ? live.phase : null);
  return (
    <Booting title="The sandbox did not start" agent={agent} view={view}>
      <div className="mt-6 space-y-4">
        {startError ? (
          <ErrorText error={startError} />
        ) : (
          told && (
            <p role="alert" className="text-bad">
              {told.message} <span className="block text-muted">{told.hint}</span>
            </p>
          )
        )}
        <div className="flex flex-wrap gap-2">
          <Button look="main" disabled={view.starting} onClick={() => view.start(false)}>
            Try again
          </Button>
          {view.storeAway && (
            <Button disabled={view.starting} onClick={() => view.start(true)}>
              Start without the snapshot
            </Button>
          )}
        </div>
      </div>
    </Booting>
  );
}

function Stopped({ view }: { view: SandboxView }) {
  const { box } = view;
  const why = endWords(box, useNow());
  const kept =
    box?.ended?.reason === "gone"
      ? "What it had not saved is there if its files still are."
      : "Its work is kept. It comes back exactly as it was.";
  return (
    <Still title="Not running" text={why ? `${why} ${kept}` : kept}>
      <Button look="main" onClick={() => view.start(false)}>
        <Icon name="play" className="size-4" /> Start
      </Button>
    </Still>
  );
}

type RetryProps = { handle: string; step: RetryStep; error: string; logged: boolean };

/** Why a step failed: in a line where the log below has the rest, else all of it. */
function Retry({ handle, step, error, logged }: RetryProps) {
  const retry = useRetryStep(handle);
  const [line = "", ...rest] = error.trim().split("\n");
  return (
    <div className="mt-5 space-y-4">
      {line && (
        <p role="alert" className="break-words text-bad">
          {line.replace(/:$/, ".")}
        </p>
      )}
      {!logged && rest.length > 0 && (
        <pre className="max-h-60 overflow-auto font-mono text-xs whitespace-pre-wrap">
          {rest.join("\n")}
        </pre>
      )}
      <Button look="main" disabled={retry.isPending} onClick={() => retry.mutate(step)}>
        <Icon name="reload" className="size-4" /> Try again
      </Button>
      <ErrorText error={retry.error} />
    </div>
  );
}

function Still({ title, text, children }: { title: string; text: string; children?: ReactNode }) {
  return (
    <div className="grid h-full place-items-center overflow-auto p-6">
      <div className="max-w-md text-center">
        <Mark className="mx-auto size-14" />
        <h2 className="mt-5 font-display text-2xl font-semibold text-balance">{title}</h2>
        <p className="mt-2 leading-relaxed text-pretty text-muted">{text}</p>
        {children && <div className="mt-6">{children}</div>}
      </div>
    </div>
  );
}
