import { type ReactNode, useState } from "react";
import { Icon } from "../ui/Icon.tsx";
import { clock, lasted } from "../ui/time.ts";
import { useNow } from "../ui/useNow.ts";
import { afterLook, type Step, type StepTimes, type Tick, tookMs } from "./boot.ts";

const marks: Record<Tick, ReactNode> = {
  pending: <span className="size-2 rounded-full border-[1.5px] border-muted" />,
  doing: <span className="tide size-2.5 rounded-full bg-sea" />,
  done: <Icon name="check" className="size-4 text-good" />,
  failed: <Icon name="cross" className="size-4 text-bad" />,
};
const rings: Record<Tick, string> = {
  pending: "border-line",
  doing: "border-sea",
  done: "border-good/40",
  failed: "border-bad",
};
const words: Record<Tick, string> = { pending: "to come", doing: "now", done: "done", failed: "failed" };

type Props = { steps: Step[]; since: number | null };

/** What the sandbox does until its preview shows, and for how long already. */
export function BootProgress({ steps, since }: Props) {
  const now = useNow();
  const [times, setTimes] = useState<StepTimes>({});
  const seen = afterLook(times, steps, now);
  if (seen !== times) setTimes(seen);
  return (
    <>
      <ol aria-label="Progress">
        {steps.map(({ name, label, tick }, index) => (
          <li key={name} className="relative flex items-center gap-3.5 pb-5 last:pb-0">
            {index < steps.length - 1 && (
              <span
                aria-hidden="true"
                className={`absolute top-7 bottom-0 left-3.5 w-px -translate-x-1/2 ${tick === "done" ? "bg-good/40" : "bg-line"}`}
              />
            )}
            <span
              aria-hidden="true"
              className={`grid size-7 shrink-0 place-items-center rounded-full border-[1.5px] ${rings[tick]}`}
            >
              {marks[tick]}
            </span>
            <span className={tick === "pending" ? "text-muted" : tick === "doing" ? "font-medium" : ""}>
              {label}
            </span>
            <span className="sr-only">({words[tick]})</span>
            <Took ms={tookMs(seen, steps, name, now)} done={tick === "done"} />
          </li>
        ))}
      </ol>
      {since !== null && steps.some(({ tick }) => tick === "doing") && (
        <p className="mt-5 text-sm text-muted tabular-nums">{clock((now - since) / 1000)} since the start</p>
      )}
    </>
  );
}

/** A step that is done took so long; one that goes on, so far. */
function Took({ ms, done }: { ms: number | null; done: boolean }) {
  if (ms === null) return null;
  return (
    <span className="ml-auto text-sm text-muted tabular-nums">
      {done && ms < 1000 ? "under 1 s" : done ? lasted(ms) : clock(ms / 1000)}
    </span>
  );
}
