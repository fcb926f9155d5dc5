import type { Place } from "../api/queries.ts";
import { useSave } from "../api/queries.ts";
import type { Sandbox } from "../api/types.ts";
import { Button } from "../ui/Button.tsx";
import { Dialog } from "../ui/Dialog.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { ago } from "../ui/time.ts";
import { useNow } from "../ui/useNow.ts";

type Props = {
  title: string;
  what: string;
  /** What the button says, and the name of the snapshot that may come first. */
  action: string;
  place: Place;
  box: Sandbox;
  onClose: () => void;
  onConfirm: () => void;
};

/** Asks before work goes, and says whether a snapshot has it; if none does, one can come first. */
export function LossDialog({ title, what, action, place, box, onClose, onConfirm }: Props) {
  const save = useSave(place);
  const now = useNow();
  const saved = box.unsaved === false && box.last_save !== null && !box.saving;

  function act() {
    onClose();
    onConfirm();
  }

  return (
    <Dialog
      open
      onClose={onClose}
      title={title}
      explanation={
        <>
          <p>{what}</p>
          <p>
            {saved && box.last_save
              ? `The snapshot of ${ago(box.last_save.created_at, now)} has everything as it is now: History brings it back.`
              : "No snapshot has it as it is now. One can be saved first: History brings it back then."}
          </p>
        </>
      }
    >
      <div className="space-y-4">
        <ErrorText error={save.error} />
        <div className="flex flex-wrap justify-end gap-2">
          <Button look="quiet" onClick={onClose}>
            Cancel
          </Button>
          {!saved && (
            <Button
              disabled={save.isPending}
              onClick={() => save.mutate(`Before: ${title}`.slice(0, 100), { onSuccess: act })}
            >
              {save.isPending ? "Saving first…" : `Save first, then ${action.toLowerCase()}`}
            </Button>
          )}
          <Button look="danger" disabled={save.isPending} onClick={act}>
            {action}
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
