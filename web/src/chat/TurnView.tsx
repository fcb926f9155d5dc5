import { memo } from "react";
import { Icon } from "../ui/Icon.tsx";
import type { Item, Turn } from "./conversation.ts";
import { Markdown } from "./Markdown.tsx";
import { Thinking } from "./Thinking.tsx";
import { ToolView } from "./ToolView.tsx";
import { type TurnActs, TurnEnd } from "./TurnEnd.tsx";

type Props = {
  turn: Turn;
  /** Whether its changes of files were taken back; unknown for as long as nobody said. */
  undone: boolean;
  acts: TurnActs;
  /** It is the newest that was taken up: what can be done next is said there. */
  last: boolean;
};

/** A message and what came of it. */
export const TurnView = memo(function TurnView({ turn, undone, acts, last }: Props) {
  const running = turn.state === "running";
  const waiting = turn.state === "queued" || turn.state === "sent";
  const takenBack = turn.state === "stopped" && turn.run === null;
  return (
    <li className="flex flex-col gap-2.5">
      <div className="flex flex-col items-end gap-1">
        <div
          className={`max-w-[88%] rounded-2xl rounded-br-md px-3.5 py-2 leading-relaxed break-words whitespace-pre-wrap ${
            waiting || takenBack ? "border border-dashed border-line text-muted" : "bg-sea-wash"
          }`}
        >
          <span className="sr-only">You said: </span>
          {turn.text}
        </div>
        {turn.state === "queued" && <p className="px-1 text-xs text-muted">Waits for its turn</p>}
        {takenBack && (
          <p className="px-1 text-xs text-muted">
            Taken back before its turn{" "}
            <button type="button" className="underline underline-offset-2 hover:text-ink" onClick={() => acts.reuse(turn.text)}>
              Write it again
            </button>
          </p>
        )}
      </div>
      {turn.items.map((item, index) => (
        <ItemView key={item.key} item={item} now={running && index === turn.items.length - 1} />
      ))}
      {(running || turn.state === "sent") && <AtWork turn={turn} />}
      {!waiting && !running && !takenBack && <TurnEnd turn={turn} undone={undone} acts={acts} last={last} />}
    </li>
  );
});

function ItemView({ item, now }: { item: Item; now: boolean }) {
  switch (item.kind) {
    case "text":
      return <Markdown text={item.text} />;
    case "thinking":
      return <Thinking text={item.text} now={now} />;
    case "tool":
      return <ToolView call={item} />;
    case "notice":
      return (
        <p className="flex gap-2.5 px-3 text-sm text-pretty text-muted">
          <Icon name="tag" className="mt-0.5 size-4" />
          {item.text}
        </p>
      );
  }
}

/** Words for the time in which nothing else moves. */
function AtWork({ turn }: { turn: Turn }) {
  const last = turn.items.at(-1);
  if (last?.kind === "thinking" || (last?.kind === "tool" && last.result === null)) return null;
  const words =
    turn.state === "sent"
      ? "Taking it up…"
      : turn.before === null && turn.items.length === 0
        ? "Getting its computer ready…"
        : "Working…";
  return (
    <p className="flex items-center gap-2.5 px-3 text-sm text-muted">
      <span aria-hidden="true" className="tide size-2 rounded-full bg-sea" />
      {words}
    </p>
  );
}
