import { asleep } from "../api/live.ts";
import { useChangeAgent } from "../api/queries.ts";
import type { Agent } from "../api/types.ts";
import { SidebarButton } from "../frame/SidebarButton.tsx";
import { Button } from "../ui/Button.tsx";
import { Confirm } from "../ui/Confirm.tsx";
import { Icon } from "../ui/Icon.tsx";
import { Menu, MenuItem } from "../ui/Menu.tsx";
import { Branches } from "./Branches.tsx";
import { Problem } from "./Problem.tsx";
import { SaveStatus } from "./SaveStatus.tsx";
import { StateDot } from "./StateDot.tsx";
import { stateWords } from "./stateWords.ts";
import type { SandboxView } from "./useSandbox.ts";
import type { View } from "./views.ts";

type Props = { agent: Agent; home: string; view: SandboxView; onShow: (view: View) => void };

/** Whose sandbox this is, how it is, and what can be done with it. */
export function AgentHeader({ agent, home, view, onShow }: Props) {
  const { box, live } = view;
  const change = useChangeAgent(agent.id);
  const state = wordsOf(view);
  const running = box?.state === "running";
  return (
    <header className="px-3 pt-2.5 pb-1 sm:px-4">
      <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
        <SidebarButton />
        <div className="min-w-0 flex-1 basis-44">
          <h1 className="truncate font-display text-lg leading-tight font-semibold">{agent.title}</h1>
          <p className="flex items-center gap-1.5 text-xs text-muted">
            <StateDot tone={state.tone} />
            <span aria-live="polite" className="shrink-0">
              {state.text}
            </span>
            <Branches agent={agent} home={home} />
            {!live.connected && live.opened > 0 && (
              <span className="shrink-0 text-shell">reconnecting…</span>
            )}
          </p>
        </div>
        <div className="flex min-w-0 items-center gap-1 max-sm:w-full">
          <SaveStatus box={box} onOpen={() => onShow("history")} />
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
          <Menu label="More">
            <MenuItem onSelect={() => change.mutate({ pinned: !agent.pinned })}>
              <Icon name="pin" className="size-4" /> {agent.pinned ? "Unpin" : "Pin to the sidebar"}
            </MenuItem>
            <MenuItem onSelect={() => void navigator.clipboard.writeText(agent.id)}>
              <Icon name="copy" className="size-4" /> Copy the agent's id
            </MenuItem>
            <MenuItem onSelect={() => onShow("settings")}>
              <Icon name="gear" className="size-4" /> Settings and secrets
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
      {change.error && <Problem error={change.error} title="It could not be changed" />}
    </header>
  );
}

/** What was asked for is so from the moment it was. */
function wordsOf({ box, live, starting, stopping }: SandboxView): ReturnType<typeof stateWords> {
  if (stopping) return { text: "saving and stopping", tone: "busy" };
  if (starting && (!box || asleep(box))) return { text: "starting", tone: "busy" };
  return stateWords(box, live.lifecycle);
}
