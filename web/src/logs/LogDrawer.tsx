import { Icon } from "../ui/Icon.tsx";
import { LogsPane } from "./LogsPane.tsx";

type Props = { logs: Record<string, string>; first: string; onClose?: () => void };

/** The logs below something else, at less than half of its height. */
export function LogDrawer({ logs, first, onClose }: Props) {
  return (
    <section aria-label="Log" className="relative h-[38%] min-h-36 shrink-0 border-t border-line">
      <LogsPane logs={logs} first={first} small />
      {onClose && (
        <button
          type="button"
          aria-label="Close the logs"
          onClick={onClose}
          className="absolute top-1 right-2 rounded-full p-1.5 text-muted hover:bg-sunken hover:text-ink"
        >
          <Icon name="close" className="size-4" />
        </button>
      )}
    </section>
  );
}
