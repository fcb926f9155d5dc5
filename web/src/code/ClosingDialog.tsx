import { Button } from "../ui/Button.tsx";
import { Dialog } from "../ui/Dialog.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { nameOf } from "./paths.ts";
import { useSaving } from "./useSaving.ts";

type Props = { handle: string; path: string; onClose: () => void; onDone: () => void };

/** Asks what becomes of unsaved changes in a file that is closed. */
export function ClosingDialog({ handle, path, onClose, onDone }: Props) {
  const save = useSaving(handle, path);
  const done = () => {
    onClose();
    onDone();
  };
  return (
    <Dialog
      open
      onClose={onClose}
      title={`Save ${nameOf(path)} before closing it?`}
      explanation="What was changed in it is nowhere else."
    >
      <div className="space-y-4">
        <ErrorText error={save.error} />
        <div className="flex flex-wrap justify-end gap-2">
          <Button look="quiet" onClick={onClose}>
            Cancel
          </Button>
          <Button look="danger" onClick={done}>
            Discard the changes
          </Button>
          <Button look="main" disabled={save.isPending} onClick={() => save.mutate(undefined, { onSuccess: done })}>
            {save.isPending ? "Saving…" : "Save and close"}
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
