import { type KeyboardEvent, type PointerEvent, type ReactNode, useState } from "react";
import { keep, kept } from "../ui/kept.ts";

const DEFAULT_PX = 420;
const LEAST_PX = 300;
const STEP_PX = 24;

type Props = { agent: string; side: "left" | "right" | "none"; children: ReactNode };

/** The chat beside the rest, as wide as it was made for this agent. */
export function ChatDock({ agent, side, children }: Props) {
  const name = `chat-width-${agent}`;
  const [width, setWidth] = useState(() => within(Number(kept(name)) || DEFAULT_PX));

  function choose(wanted: number) {
    const chosen = within(wanted);
    setWidth(chosen);
    keep(name, String(chosen));
  }

  function dragged(event: PointerEvent<HTMLDivElement>) {
    if (!event.currentTarget.hasPointerCapture(event.pointerId)) return;
    choose(side === "left" ? event.clientX : window.innerWidth - event.clientX);
  }

  function pressed(event: KeyboardEvent) {
    const wider = side === "left" ? "ArrowRight" : "ArrowLeft";
    const narrower = side === "left" ? "ArrowLeft" : "ArrowRight";
    if (event.key === wider) choose(width + STEP_PX);
    else if (event.key === narrower) choose(width - STEP_PX);
    else if (event.key === "Home") choose(LEAST_PX);
    else if (event.key === "End") choose(most());
    else return;
    event.preventDefault();
  }

  return (
    <aside aria-label="Chat" style={{ width }} className="relative min-w-0 shrink-0">
      <div
        // oxlint-disable-next-line jsx-a11y/prefer-tag-over-role -- a mere line cannot be dragged
        role="separator"
        // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a separator that moves takes the focus
        tabIndex={0}
        aria-orientation="vertical"
        aria-label="Width of the chat"
        aria-valuenow={width}
        aria-valuemin={LEAST_PX}
        aria-valuemax={most()}
        onPointerDown={(event) => {
          event.preventDefault();
          event.currentTarget.setPointerCapture(event.pointerId);
        }}
        onPointerMove={dragged}
        onKeyDown={pressed}
        onDoubleClick={() => choose(DEFAULT_PX)}
        className={`group absolute inset-y-0 z-10 w-3 cursor-col-resize touch-none ${side === "left" ? "-right-3" : "-left-3"}`}
      >
        <span
          aria-hidden="true"
          className="absolute top-1/2 left-1/2 h-10 w-1 -translate-1/2 rounded-full bg-line opacity-0 transition group-hover:opacity-100 group-focus-visible:opacity-100 group-active:bg-sea group-active:opacity-100"
        />
      </div>
      {children}
    </aside>
  );
}

const most = () => Math.max(LEAST_PX, Math.round(window.innerWidth * 0.6));
const within = (width: number) => Math.round(Math.min(most(), Math.max(LEAST_PX, width)));
