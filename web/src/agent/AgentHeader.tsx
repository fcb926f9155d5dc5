import { Link, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { useDeleteAgent } from "../api/queries.ts";
import type { Agent } from "../api/types.ts";
import { SecretsDialog } from "../secrets/SecretsDialog.tsx";
import { Button } from "../ui/Button.tsx";
import { Asking, Confirm } from "../ui/Confirm.tsx";
import { Icon } from "../ui/Icon.tsx";
import { Mark } from "../ui/Mark.tsx";
import { Menu, MenuItem } from "../ui/Menu.tsx";
import { ThemeButton } from "../ui/ThemeButton.tsx";
import { Branches } from "./Branches.tsx";
import { Problem } from "./Problem.tsx";
import { SaveStatus } from "./SaveStatus.tsx";
import { StateDot } from "./StateDot.tsx";
import { stateWords } from "./stateWords.ts";
import type { SandboxView } from "./useSandbox.ts";

type Props = { agent: Agent; home: string; view: SandboxView; onHistory: () => void };

/** Whose sandbox this is, how it is, and what can be done with it. */
export function AgentHeader({ agent, home, view, onHistory }: Props) {
  const { box, live } = view;
  const remove = useDeleteAgent();
  const navigate = useNavigate();
  const [deleting, setDeleting] = useState(false);
  const [secrets, setSecrets] = useState(false);
  const state = stateWords(box, live.lifecycle);
  const running = box?.state === "running";
  return (
    <header className="px-3 pt-2.5 pb-1 sm:px-4">
      <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
        <Link to="/" aria-label="Home" title="Home" className="rounded-full">
          <Mark className="size-9" />
        </Link>
        <div className="min-w-0 flex-1 basis-44">
          <h1 className="truncate font-display text-lg leading-tight font-semibold">{agent.title}</h1>
          <p className="flex items-center gap-1.5 text-xs text-muted">
            <StateDot tone={view.stopping ? "busy" : state.tone} />
            <span aria-live="polite" className="shrink-0">
              {view.stopping ? "saving and stopping" : state.text}
            </span>
            <Branches agent={agent} home={home} />
            {!live.connected && live.opened > 0 && (
              <span className="shrink-0 text-shell">reconnecting…</span>
            )}
          </p>
        </div>
        <div className="flex min-w-0 items-center gap-1 max-sm:w-full">
          <SaveStatus box={box} onOpen={onHistory} />
          {running || view.stopping ? (
            <Confirm
              label={
                <>
                  <Icon name="stop" className="size-4" /> Stop
                </>
              }
              title={`Stop ${agent.title}?`}
              explanation="Its work is saved first. It comes back as it was when you start it again."
              action="Save and stop"
              onConfirm={() => view.stop(false)}
              disabled={view.stopping}
            />
          ) : (
            <Button
              look="main"
              onClick={() => view.start(false)}
              disabled={view.starting || box?.state === "starting"}
            >
              <Icon name="play" className="size-4" /> Start
            </Button>
          )}
          <ThemeButton />
          <Menu label="More">
            <MenuItem onSelect={() => void navigator.clipboard.writeText(agent.id)}>
              <Icon name="copy" className="size-4" /> Copy the agent's id
            </MenuItem>
            <MenuItem onSelect={() => setSecrets(true)}>
              <Icon name="key" className="size-4" /> Secrets…
            </MenuItem>
            <MenuItem dangerous disabled={remove.isPending} onSelect={() => setDeleting(true)}>
              <Icon name="cross" className="size-4" /> Delete…
            </MenuItem>
          </Menu>
        </div>
      </div>
      {view.stopError && (
        <Problem error={view.stopError} title="It could not be saved, so it runs on">
          <Button onClick={() => view.stop(false)}>Try again</Button>
          <Confirm
            look="quiet"
            label="Stop without saving"
            title="Stop without the last save?"
            explanation="Its files stay on this machine, but what changed since the last snapshot is in no snapshot."
            action="Stop without saving"
            dangerous
            onConfirm={() => view.stop(true)}
          />
        </Problem>
      )}
      {remove.error && <Problem error={remove.error} title="It could not be deleted" />}
      <SecretsDialog agent={agent} open={secrets} onClose={() => setSecrets(false)} />
      <Asking
        open={deleting}
        onClose={() => setDeleting(false)}
        title={`Delete ${agent.title}?`}
        explanation="Its sandbox ends, its files go, and its snapshots are deleted after a grace. This cannot be undone here."
        action="Delete it"
        dangerous
        onConfirm={() => remove.mutate(agent.id, { onSuccess: () => navigate({ to: "/" }) })}
      />
    </header>
  );
}
