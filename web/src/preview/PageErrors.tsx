import { Icon } from "../ui/Icon.tsx";
import { askToMend } from "./pageMessages.ts";

type Props = { errors: string[]; onAsk: (text: string) => void; onClose: () => void };

/** The page logs errors: the newest, and the way to have them mended. */
export function PageErrors({ errors, onAsk, onClose }: Props) {
  const [newest] = errors.slice(-1);
  const different = new Set(errors).size;
  if (!newest) return null;
  return (
    <div className="flex items-center gap-2.5 border-t border-line bg-bad-wash px-4 py-1.5 text-sm">
      <Icon name="warn" className="size-4 text-bad" />
      <output className="min-w-0 flex-1 truncate font-mono text-xs text-ink" title={newest}>
        {different > 1 && `${different} errors. `}
        {newest.split("\n")[0]}
      </output>
      <button
        type="button"
        onClick={() => onAsk(askToMend(errors))}
        className="shrink-0 rounded-full px-2 py-1 font-medium text-bad underline-offset-2 hover:underline"
      >
        Ask the agent to fix
      </button>
      <button
        type="button"
        aria-label="Pass over these errors"
        onClick={onClose}
        className="rounded-full p-1 text-muted hover:bg-sunken hover:text-ink"
      >
        <Icon name="close" className="size-3.5" />
      </button>
    </div>
  );
}
