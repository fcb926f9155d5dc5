import { type Ref, useImperativeHandle, useLayoutEffect, useRef, useState } from "react";
import { buttonLook } from "../ui/Button.tsx";
import { Icon } from "../ui/Icon.tsx";
import type { Turn } from "./conversation.ts";
import type { TurnActs } from "./TurnEnd.tsx";
import { TurnView } from "./TurnView.tsx";

const NEAR_END_PX = 60;

type Props = { ref: Ref<HTMLElement>; turns: Turn[]; undone: Set<string>; acts: TurnActs };

/** The turns, scrolled to their end unless the reader went up. */
export function TurnList({ ref, turns, undone, acts }: Props) {
  const box = useRef<HTMLElement>(null);
  const [atEnd, setAtEnd] = useState(true);
  useImperativeHandle(ref, () => box.current as HTMLElement);

  function toEnd() {
    if (box.current) box.current.scrollTop = box.current.scrollHeight;
  }
  // What was said just now is to be seen, wherever one was reading.
  const own = turns.at(-1)?.key;
  useLayoutEffect(toEnd, [own]);
  useLayoutEffect(() => {
    if (atEnd) toEnd();
  });

  const last = turns.findLast(({ run }) => run !== null)?.key;
  return (
    <div className="relative min-h-0 flex-1">
      <section
        ref={box}
        // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a scrolled region is reached by keyboard
        tabIndex={0}
        aria-label="What was said"
        onScroll={({ currentTarget: at }) =>
          setAtEnd(at.scrollHeight - at.scrollTop - at.clientHeight < NEAR_END_PX)
        }
        className="h-full overflow-auto px-3 pt-2 pb-4 focus-visible:-outline-offset-2"
      >
        <ol className="mx-auto max-w-3xl space-y-6">
          {turns.map((turn) => (
            <TurnView
              key={turn.key}
              turn={turn}
              undone={turn.run !== null && undone.has(turn.run)}
              acts={acts}
              last={turn.key === last}
            />
          ))}
        </ol>
      </section>
      {!atEnd && (
        <button
          type="button"
          onClick={toEnd}
          className={`${buttonLook("plain", "small")} absolute bottom-2 left-1/2 -translate-x-1/2 text-xs shadow-md`}
        >
          <Icon name="down" className="size-3.5" /> To the end
        </button>
      )}
    </div>
  );
}
