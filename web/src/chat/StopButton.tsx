import * as Radix from "@radix-ui/react-dropdown-menu";
import { buttonLook } from "../ui/Button.tsx";
import { Icon } from "../ui/Icon.tsx";
import { MenuItem } from "../ui/Menu.tsx";

type Props = { queued: number; stopping: boolean; onStop: (keepQueued: boolean) => void };

const look = buttonLook("plain");

/** Ends the run at once; where messages wait it asks what becomes of them. */
export function StopButton({ queued, stopping, onStop }: Props) {
  const face = (
    <>
      <Icon name="stop" className="size-4" /> {stopping ? "Stopping…" : "Stop"}
    </>
  );
  if (queued === 0) {
    return (
      <button
        type="button"
        aria-label="Stop this turn"
        disabled={stopping}
        onClick={() => onStop(false)}
        className={look}
      >
        {face}
      </button>
    );
  }
  return (
    <Radix.Root>
      <Radix.Trigger aria-label="Stop this turn" disabled={stopping} className={look}>
        {face} <Icon name="down" className="size-3" />
      </Radix.Trigger>
      <Radix.Portal>
        <Radix.Content
          align="end"
          sideOffset={6}
          className="z-30 min-w-52 rounded-2xl border border-line bg-raised p-1.5 text-sm shadow-xl"
        >
          <MenuItem onSelect={() => onStop(true)}>Stop this, go on with what waits</MenuItem>
          <MenuItem onSelect={() => onStop(false)}>
            Stop all, take back {queued === 1 ? "the message" : `${queued} messages`}
          </MenuItem>
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}
