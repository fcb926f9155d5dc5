import { useDeleteThread } from "../api/threads.ts";
import type { Thread } from "../api/threadTypes.ts";
import { Button } from "../ui/Button.tsx";
import { Dialog } from "../ui/Dialog.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { titleOf } from "./words.ts";

type Props = { thread: Thread; onClose: () => void; onDeleted: () => void };

/** Asks before a conversation goes. */
export function DeleteThread({ thread, onClose, onDeleted }: Props) {
  const remove = useDeleteThread();
  return (
    <Dialog
      open
      onClose={onClose}
      title={`Delete "${titleOf(thread)}"?`}
      explanation={
        <>
          {thread.status === "running" && <p>What goes on in it is stopped first.</p>}
          <p>What was said goes for good. The files, the branch and its history stay.</p>
        </>
      }
    >
      <ErrorText error={remove.error} />
      <div className="flex justify-end gap-2">
        <Button look="quiet" onClick={onClose}>
          Cancel
        </Button>
        <Button
          look="danger"
          disabled={remove.isPending}
          onClick={() =>
            remove.mutate(thread.id, {
              onSuccess: () => {
                onClose();
                onDeleted();
              },
            })
          }
        >
          {remove.isPending ? "Deleting…" : "Delete it"}
        </Button>
      </div>
    </Dialog>
  );
}
