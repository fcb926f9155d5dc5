import { Link, useNavigate } from "@tanstack/react-router";
import { useDeleteAgent, useStop } from "../api/queries.ts";
import type { Agent, Sandbox } from "../api/types.ts";
import { Button } from "../ui/Button.tsx";
import { Confirm } from "../ui/Confirm.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Mark } from "../ui/Mark.tsx";
import { ThemeButton } from "../ui/ThemeButton.tsx";
import { useNow } from "../ui/useNow.ts";
import { saveWords } from "./saveState.ts";
import { rememberStopped } from "./startedByHand.ts";

const tones = { calm: "text-muted", busy: "text-ink", bad: "text-bad" };

type Props = {
  agent: Agent;
  box: Sandbox | null | undefined;
  connected: boolean;
  starting: boolean;
  onStart: () => void;
};

/** Whose sandbox this is, how it is, and what can be done with it. */
export function AgentHeader({ agent, box, connected, starting, onStart }: Props) {
  const now = useNow();
  const saved = saveWords(box, now);
  const stop = useStop();
  const remove = useDeleteAgent();
  const navigate = useNavigate();
  const running = box?.state === "running";

  function stopNow(force: boolean) {
    if (!box) return;
    rememberStopped(agent.id, true);
    stop.mutate({ handle: box.handle, force });
  }

  return (
    <header className="border-b border-line bg-raised px-3 py-2">
      <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
        <Link to="/" aria-label="Home" className="rounded-lg p-1">
          <Mark />
        </Link>
        <div className="min-w-0 flex-1 basis-40">
          <h1 className="truncate font-semibold">{agent.title}</h1>
          <p className="truncate text-xs text-muted">
            <span className="font-mono">{agent.default_branch}</span>
            {box && ` · ${stop.isPending ? "saving and stopping" : box.state}`}
            {!connected && box && " · reconnecting"}
          </p>
        </div>
        <p aria-live="polite" className={`max-w-80 truncate text-xs ${tones[saved.tone]}`} title={saved.text}>
          {saved.text}
        </p>
        <div className="flex items-center gap-1">
          {running ? (
            <Confirm
              label="Stop"
              title={`Stop ${agent.title}?`}
              explanation="Its work is saved first. It comes back as it was when you start it again."
              action="Save and stop"
              onConfirm={() => stopNow(false)}
              disabled={stop.isPending}
            />
          ) : (
            <Button onClick={onStart} disabled={starting || box?.state === "starting"}>
              Start
            </Button>
          )}
          <Confirm
            look="danger"
            label="Delete"
            title={`Delete ${agent.title}?`}
            explanation="Its sandbox ends, and its snapshots are deleted after the grace. This cannot be undone here."
            action="Delete it"
            onConfirm={() => remove.mutate(agent.id, { onSuccess: () => navigate({ to: "/" }) })}
            disabled={remove.isPending}
          />
          <ThemeButton />
        </div>
      </div>
      <ErrorText error={stop.error ?? remove.error} />
      {stop.error && (
        <Button look="danger" className="mt-2" onClick={() => stopNow(true)}>
          Stop without the last save
        </Button>
      )}
    </header>
  );
}
