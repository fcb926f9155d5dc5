import { useState } from "react";
import type { SandboxView } from "../agent/useSandbox.ts";
import type { Agent } from "../api/types.ts";
import { LogDrawer } from "../logs/LogDrawer.tsx";
import { keep, kept } from "../ui/kept.ts";
import { BootScreen } from "./BootScreen.tsx";
import { failedStep } from "./boot.ts";
import { PreviewFrame } from "./PreviewFrame.tsx";
import { previewState } from "./previewState.ts";
import { usePreviewUrl } from "./usePreviewUrl.ts";

type Props = { agent: Agent; view: SandboxView; onAsk: (text: string) => void };

/** The live preview, or what stands between here and it, with the logs below. */
export function PreviewPane({ agent, view, onAsk }: Props) {
  const { box, live } = view;
  const [seenSince, setSeenSince] = useState<string | null>(null);
  const [logs, setLogs] = useState(() => kept(`logs-${agent.id}`) === "open");
  const state = previewState({
    box,
    lifecycle: live.lifecycle,
    phase: live.phase,
    starting: view.starting,
    startFailed: view.startError !== null,
    seen: seenSince !== null && seenSince === box?.started_at,
    hasSource: Boolean(agent.metadata.template ?? agent.metadata.clone_url),
  });
  const up = state === "live" || state === "dropped";
  const url = usePreviewUrl(box, up);
  if (state === "live" && box?.started_at && seenSince !== box.started_at) {
    setSeenSince(box.started_at);
  }

  function toggleLogs() {
    keep(`logs-${agent.id}`, logs ? null : "open");
    setLogs(!logs);
  }

  const atWork =
    (state === "booting" || state === "step-failed" || state === "crashed") &&
    Object.keys(live.logs).length > 0;
  const source = failedStep(live.lifecycle) === "start" || state === "crashed" ? "dev" : "setup";
  return (
    <div className="flex h-full min-h-0 flex-col">
      <div className="min-h-0 flex-1">
        {up && url && box ? (
          <PreviewFrame
            agent={agent}
            handle={box.handle}
            url={url}
            isPrivate={box.preview_access === "private"}
            reloads={live.reloads}
            dropped={state === "dropped"}
            logsOpen={logs}
            onLogs={toggleLogs}
            onAsk={onAsk}
          />
        ) : (
          !up && <BootScreen agent={agent} view={view} state={state} />
        )}
      </div>
      {atWork && <LogDrawer key={source} logs={live.logs} first={source} />}
      {up && logs && <LogDrawer logs={live.logs} first="dev" onClose={toggleLogs} />}
    </div>
  );
}
