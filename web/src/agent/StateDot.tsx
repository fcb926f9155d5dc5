import type { StateTone } from "./stateWords.ts";

const dots: Record<StateTone, string> = {
  good: "bg-good",
  busy: "bg-sea tide",
  still: "border border-muted",
  bad: "bg-bad",
};

export function StateDot({ tone }: { tone: StateTone }) {
  return <span aria-hidden="true" className={`size-2 shrink-0 rounded-full ${dots[tone]}`} />;
}
