import { useState } from "react";
import { ApiError } from "../api/client.ts";
import type { Live } from "../api/live.ts";
import { useRetryStep } from "../api/queries.ts";
import type { Agent, Sandbox } from "../api/types.ts";
import { LogText } from "../logs/LogText.tsx";
import { Button } from "../ui/Button.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { BootProgress } from "./BootProgress.tsx";
import { bootSteps, failedStep, previewState } from "./boot.ts";
import { PreviewFrame } from "./PreviewFrame.tsx";
import { usePreviewUrl } from "./usePreviewUrl.ts";

type Props = {
  agent: Agent;
  box: Sandbox | null | undefined;
  live: Live;
  startError: Error | null;
  starting: boolean;
  onStart: (withoutSnapshot: boolean) => void;
};

const headlines = {
  stopped: "Not running",
  booting: "Getting ready",
  failed: "This step did not work",
  crashed: "The dev server stopped; starting it again",
  "no-page": "The server runs, but it serves no web page at its root",
  live: "",
};

/** The live preview, or what stands between here and it. */
export function PreviewPane({ agent, box, live, startError, starting, onStart }: Props) {
  const shown = starting && box?.state === "stopped" ? "starting" : (box?.state ?? null);
  const [seen, setSeen] = useState(false);
  const state = startError ? "failed" : previewState(shown, live.lifecycle, live.phase, seen);
  const url = usePreviewUrl(box, state === "live");
  if (state === "live" && !seen) setSeen(true);
  if (state === "live" && url) return <PreviewFrame url={url} reloads={live.reloads} />;

  const blank = !agent.metadata.template && !agent.metadata.clone_url;
  if (blank && box?.state === "running" && state === "booting") {
    return (
      <p className="grid h-full place-items-center p-8 text-muted">
        The sandbox runs. It has no source of its own, so there is nothing to preview yet.
      </p>
    );
  }
  const step = failedStep(live.lifecycle);
  const log = live.logs.dev && step === "start" ? live.logs.dev : (live.logs.setup ?? "");
  return (
    <div className="flex h-full min-h-0 flex-col gap-6 overflow-auto p-6 sm:p-10">
      <h2 className="text-lg font-semibold">{headlines[state]}</h2>
      {state === "stopped" ? (
        <div>
          <p className="mb-4 text-muted">Its work is saved. It comes back as it was.</p>
          <Button look="main" onClick={() => onStart(false)} disabled={starting}>
            Start
          </Button>
        </div>
      ) : (
        <BootProgress
          steps={bootSteps(
            startError ? { kind: "failed" } : live.phase,
            live.lifecycle,
            agent.metadata.clone_url !== null,
          )}
          since={box?.started_at ?? null}
        />
      )}
      <StartTrouble error={startError} live={live} starting={starting} onStart={onStart} />
      {step && box && <Retry handle={box.handle} step={step} error={live.lifecycle?.error} />}
      {log && state !== "stopped" && (
        <section aria-label="Log" className="min-h-40 flex-1 overflow-hidden rounded-xl border border-line">
          <LogText text={log} />
        </section>
      )}
    </div>
  );
}

function Retry({
  handle,
  step,
  error,
}: {
  handle: string;
  step: "clone" | "install" | "start";
  error?: string;
}) {
  const retry = useRetryStep(handle);
  return (
    <div className="space-y-3">
      {error && (
        <pre role="alert" className="font-mono text-xs leading-relaxed whitespace-pre-wrap text-bad">
          {error}
        </pre>
      )}
      <Button look="main" disabled={retry.isPending} onClick={() => retry.mutate(step)}>
        Try again
      </Button>
      <ErrorText error={retry.error} />
    </div>
  );
}

type TroubleProps = Pick<Props, "live" | "starting" | "onStart"> & { error: Error | null };

/** A start that did not happen: wait, or go on without the snapshot. */
function StartTrouble({ error, live, starting, onStart }: TroubleProps) {
  if (!error && live.phase?.kind !== "failed") return null;
  const noStore = error instanceof ApiError && error.code === "store_unreachable";
  return (
    <div className="space-y-3">
      {error ? <ErrorText error={error} /> : <p className="text-bad">{live.phase?.message}</p>}
      {noStore && (
        <p className="max-w-prose leading-relaxed text-muted">
          Your saved work is safe where it is. Without it the sandbox starts empty, and what you do
          there is saved aside: nothing is overwritten, and both are offered when the store is back.
        </p>
      )}
      <div className="flex flex-wrap gap-2">
        <Button look="main" disabled={starting} onClick={() => onStart(false)}>
          Try again
        </Button>
        {noStore && (
          <Button disabled={starting} onClick={() => onStart(true)}>
            Start without the snapshot
          </Button>
        )}
      </div>
    </div>
  );
}
