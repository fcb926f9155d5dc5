import type { ReactNode } from "react";
import { clock } from "../ui/time.ts";
import { useNow } from "../ui/useNow.ts";
import type { Step, Tick } from "./boot.ts";

const marks: Record<Tick, ReactNode> = {
  pending: <span className="size-2 rounded-full border border-muted" />,
  doing: <span className="size-2.5 animate-pulse rounded-full bg-sea" />,
  done: <span className="text-good">✓</span>,
  failed: <span className="text-bad">✗</span>,
};
const words: Record<Tick, string> = {
  pending: "to come",
  doing: "now",
  done: "done",
  failed: "failed",
};

type Props = { steps: Step[]; since: string | null };

/** What the sandbox does until its preview shows, and for how long already. */
export function BootProgress({ steps, since }: Props) {
  const now = useNow();
  const running = steps.some((step) => step.tick === "doing");
  return (
    <div>
      <ol aria-label="Progress" className="space-y-2.5">
        {steps.map((step) => (
          <li
            key={step.name}
            className={`flex items-center gap-3 ${step.tick === "pending" ? "text-muted" : ""}`}
          >
            <span aria-hidden="true" className="grid size-5 place-items-center">
              {marks[step.tick]}
            </span>
            {step.label}
            <span className="sr-only">({words[step.tick]})</span>
          </li>
        ))}
      </ol>
      {since && running && (
        <p className="mt-4 pl-8 text-muted tabular-nums">{clock((now - Date.parse(since)) / 1000)}</p>
      )}
    </div>
  );
}
