import { buttonLook } from "../ui/Button.tsx";
import { Dropdown } from "../ui/Dropdown.tsx";
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
    <Dropdown
      label="Stop this turn"
      face={
        <>
          {face} <Icon name="down" className="size-3" />
        </>
      }
      look={look}
      disabled={stopping}
      align="end"
    >
      <MenuItem onSelect={() => onStop(true)}>Stop this, go on with what waits</MenuItem>
      <MenuItem onSelect={() => onStop(false)}>
        Stop all, take back {queued === 1 ? "the message" : `${queued} messages`}
      </MenuItem>
    </Dropdown>
  );
}
