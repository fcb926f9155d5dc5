import { memo, type ReactNode, useId, useMemo, useState } from "react";
import { some } from "../history/words.ts";
import { LogText } from "../logs/LogText.tsx";
import { Icon } from "../ui/Icon.tsx";
import type { ToolCall } from "./conversation.ts";
import { counted, diffLines } from "./diff.ts";
import { DiffView } from "./DiffView.tsx";
import { toolSort } from "./toolWords.ts";

const SHORT_DIFF_LINES = 24;

/** A tool's call: one line, with what it changed or printed below it. */
export const ToolView = memo(function ToolView({ call }: { call: ToolCall }) {
  const { sort, icon } = toolSort(call);
  const running = call.result === null;
  const failed = call.result?.ok === false;
  const output = outputOf(call);
  const lines = useMemo(() => (call.result?.diff ? diffLines(call.result.diff) : null), [call.result]);
  const open = lines
    ? lines.length <= SHORT_DIFF_LINES
    : (sort === "command" && running) || failed;
  return (
    <Foldable
      open={open}
      icon={icon}
      state={running ? "running" : failed ? "failed" : "done"}
      title={call.title || call.name}
      mono={sort === "command"}
      aside={lines && <Counts {...counted(lines)} />}
    >
      {lines ? (
        <DiffView lines={lines} what={`Changes: ${call.title}`} />
      ) : output ? (
        <div className="flex max-h-64">
          <LogText text={output} />
        </div>
      ) : null}
    </Foldable>
  );
});

/** What it printed as it ran counts until its end tells all of it; a call cut short tells why only. */
function outputOf({ output, result }: ToolCall): string {
  if (!result || result.output === "") return output;
  if (result.ok || output === "" || result.output.length >= output.length) return result.output;
  return `${output.trimEnd()}\n${result.output}`;
}

function Counts({ added, removed }: { added: number; removed: number }) {
  return (
    <span className="shrink-0 font-mono text-xs">
      {added > 0 && <span className="text-good">+{added}</span>}{" "}
      {removed > 0 && <span className="text-bad">−{removed}</span>}
      <span className="sr-only">
        ({some(added, "line")} added, {removed} removed)
      </span>
    </span>
  );
}

const states = { running: "runs", failed: "failed", done: "done" };

type Props = {
  /** Whether it is open for as long as nobody has folded or unfolded it. */
  open: boolean;
  icon: Parameters<typeof Icon>[0]["name"];
  state: keyof typeof states;
  title: string;
  mono: boolean;
  aside: ReactNode;
  children: ReactNode;
};

function Foldable({ open, icon, state, title, mono, aside, children }: Props) {
  const [chosen, setChosen] = useState<boolean | null>(null);
  const body = useId();
  const shown = children !== null && (chosen ?? open);
  const line = (
    <>
      <Icon
        name={state === "failed" ? "warn" : icon}
        className={`size-4 ${state === "failed" ? "text-bad" : state === "running" ? "tide text-sea" : "text-muted"}`}
      />
      <span className={`min-w-0 flex-1 truncate text-left ${mono ? "font-mono text-xs" : ""}`} title={title}>
        {title}
      </span>
      {state !== "done" && (
        <span className={`shrink-0 text-xs ${state === "failed" ? "text-bad" : "text-sea"}`}>{states[state]}</span>
      )}
      {aside}
    </>
  );
  const look = "flex w-full items-center gap-2.5 px-3 py-1.5 text-sm";
  return (
    <div className={shown ? "overflow-hidden rounded-xl border border-line bg-shore" : "chat-line"}>
      {children === null ? (
        <div className={look}>{line}</div>
      ) : (
        <button
          type="button"
          aria-expanded={shown}
          aria-controls={shown ? body : undefined}
          onClick={() => setChosen(!shown)}
          className={`${look} rounded-xl hover:bg-sunken focus-visible:-outline-offset-2`}
        >
          {line}
          <Icon name="down" className={`size-3 text-muted transition ${shown ? "rotate-180" : ""}`} />
        </button>
      )}
      {shown && (
        <div id={body} className="border-t border-line">
          {children}
        </div>
      )}
    </div>
  );
}
