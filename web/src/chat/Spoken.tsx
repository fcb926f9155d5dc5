import type { ToolCall, Turn } from "./conversation.ts";
import { spoken } from "./words.ts";

/** What a screen reader says meanwhile: what it works on, and the answer once it is whole. */
export function Spoken({ turns, live }: { turns: Turn[]; live: boolean }) {
  return (
    <output aria-live="polite" className="sr-only">
      {live ? words(turns.findLast(({ run }) => run !== null)) : ""}
    </output>
  );
}

function words(turn: Turn | undefined): string {
  if (!turn) return "";
  const tool = turn.items.findLast((item): item is ToolCall => item.kind === "tool");
  switch (turn.state) {
    case "running":
      return tool ? `Working: ${tool.title}` : "Working";
    case "done": {
      const answer = turn.items.findLast((item) => item.kind === "text");
      return answer?.kind === "text" ? spoken(answer.text) : "Done";
    }
    case "stopped":
      return "Stopped";
    default:
      return turn.error ? `It ended: ${turn.error}` : "It ended";
  }
}
