import { useEffect } from "react";
import { Icon } from "../ui/Icon.tsx";

const STAYS_MS = 8_000;

/** How something ended that was done from the palette; it goes by itself. */
export function Told({ words, onClose }: { words: string; onClose: () => void }) {
  useEffect(() => {
    if (!words) return undefined;
    const timer = setTimeout(onClose, STAYS_MS);
    return () => clearTimeout(timer);
  }, [words, onClose]);
  return (
    <output className="pointer-events-none fixed inset-x-0 bottom-4 z-30 flex justify-center px-4">
      {words && (
        <span className="pointer-events-auto flex items-center gap-2 rounded-full border border-line bg-raised py-1.5 pr-1.5 pl-4 text-sm shadow-lg">
          {words}
          <button
            type="button"
            aria-label="Close"
            onClick={onClose}
            className="rounded-full p-1.5 text-muted hover:bg-sunken hover:text-ink"
          >
            <Icon name="close" className="size-3.5" />
          </button>
        </span>
      )}
    </output>
  );
}
