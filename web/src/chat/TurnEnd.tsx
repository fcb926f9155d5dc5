import { useState } from "react";
import { Button } from "../ui/Button.tsx";
import { Asking } from "../ui/Confirm.tsx";
import { Icon } from "../ui/Icon.tsx";
import { Menu, MenuItem } from "../ui/Menu.tsx";
import { Notice } from "../ui/Notice.tsx";
import type { Turn } from "./conversation.ts";
import { CopyButton } from "./CopyButton.tsx";
import { ForkTurnDialog } from "./ForkTurnDialog.tsx";
import { lasted, usageDetail, usageWords } from "./words.ts";

/** What can be done with a turn. */
export type TurnActs = {
  thread: string;
  /** Whether one may write here. */
  mayWrite: boolean;
  /** Whether a run goes on: then nothing is undone. */
  busy: boolean;
  say: (text: string) => void;
  /** Put a text into the box where messages are written. */
  reuse: (text: string) => void;
  undo: (run: string) => void;
  models: () => void;
};

type Props = { turn: Turn; undone: boolean; acts: TurnActs; last: boolean };

/** How a turn ended, what it took, and what can be done with it. */
export function TurnEnd({ turn, undone, acts, last }: Props) {
  const answer = turn.items.flatMap((item) => (item.kind === "text" ? [item.text] : [])).join("\n\n");
  return (
    <div className="space-y-2.5">
      <Ending turn={turn} acts={acts} last={last} />
      <div className="flex min-h-7 items-center gap-0.5 pl-3 text-xs text-muted">
        <span className="min-w-0 flex-1 truncate tabular-nums" title={turn.usage ? usageDetail(turn.usage) : undefined}>
          {undone && <span className="mr-1.5 rounded-full bg-shell-wash px-2 py-0.5 text-shell">Undone</span>}
          {[
            turn.startedAt && turn.finishedAt && lasted(turn.startedAt, turn.finishedAt),
            turn.usage && usageWords(turn.usage),
          ]
            .filter(Boolean)
            .join(" · ")}
        </span>
        {answer && <CopyButton text={answer} what="the answer" />}
        {turn.run && (turn.before ?? turn.after) && (
          <TurnMenu turn={turn} run={turn.run} undone={undone} acts={acts} />
        )}
      </div>
    </div>
  );
}

/** What is to know and to do where a run did not come to its own end. */
function Ending({ turn, acts, last }: { turn: Turn; acts: TurnActs; last: boolean }) {
  const next = last && acts.mayWrite && !acts.busy;
  const again = next && <Button onClick={() => acts.say(turn.text)}>Try again</Button>;
  const goOn = next && <Button onClick={() => acts.say("Go on.")}>Go on</Button>;
  switch (turn.state) {
    case "stopped":
      return <p className="px-3 text-sm text-muted">Stopped. What was done so far is kept.</p>;
    case "failed":
      return (
        <Notice
          tone="bad"
          title="It could not go on"
          actions={
            next && (
              <>
                {again}
                <Button look="quiet" onClick={acts.models}>
                  Models and keys
                </Button>
              </>
            )
          }
        >
          {turn.error ?? "The server did not say why; its log may."}
        </Notice>
      );
    case "capped":
      return (
        <Notice title="It reached its limit" actions={goOn}>
          {turn.error}
        </Notice>
      );
    case "interrupted":
      return (
        <Notice title="It was interrupted" actions={goOn}>
          {turn.error ?? "What was done so far is kept."}
        </Notice>
      );
    default:
      return null;
  }
}

type MenuProps = { turn: Turn; run: string; undone: boolean; acts: TurnActs };

function TurnMenu({ turn, run, undone, acts }: MenuProps) {
  const [asking, setAsking] = useState<"undo" | "before" | "after" | null>(null);
  return (
    <>
      <Menu label="This turn">
        {acts.mayWrite && turn.before && (
          <MenuItem disabled={acts.busy || undone} onSelect={() => setAsking("undo")}>
            <Icon name="undo" className="size-4" /> {undone ? "It was undone" : "Undo this turn…"}
          </MenuItem>
        )}
        {turn.after && (
          <MenuItem disabled={acts.busy} onSelect={() => setAsking("after")}>
            <Icon name="branch" className="size-4" /> Fork from here…
          </MenuItem>
        )}
        {turn.before && (
          <MenuItem disabled={acts.busy} onSelect={() => setAsking("before")}>
            <Icon name="branch" className="size-4" /> Fork from before it…
          </MenuItem>
        )}
      </Menu>
      <Asking
        open={asking === "undo"}
        onClose={() => setAsking(null)}
        title="Undo this turn?"
        explanation="The files go back to what they were before it, so what later turns changed goes too. The present is saved first: the history leads back to it."
        action="Undo it"
        onConfirm={() => acts.undo(run)}
      />
      {(asking === "before" || asking === "after") && (
        <ForkTurnDialog thread={acts.thread} run={run} when={asking} onClose={() => setAsking(null)} />
      )}
    </>
  );
}
