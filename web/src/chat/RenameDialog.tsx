import type { FormEvent } from "react";
import { useChangeThread } from "../api/threads.ts";
import type { Thread } from "../api/threadTypes.ts";
import { Button } from "../ui/Button.tsx";
import { Dialog } from "../ui/Dialog.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { field } from "../ui/field.ts";

export function RenameDialog({ thread, onClose }: { thread: Thread; onClose: () => void }) {
  const change = useChangeThread(thread.id);

  function rename(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const said = new FormData(event.currentTarget).get("title");
    const title = typeof said === "string" ? said.trim() : "";
    if (!title || title === thread.title) onClose();
    else change.mutate({ title }, { onSuccess: onClose });
  }

  return (
    <Dialog open onClose={onClose} title="Rename the conversation" explanation="It is found again by this.">
      <form onSubmit={rename} className="space-y-4">
        <label className="block font-medium">
          Title
          <input name="title" defaultValue={thread.title} maxLength={255} autoComplete="off" className={field} />
        </label>
        <ErrorText error={change.error} />
        <div className="flex justify-end gap-2">
          <Button look="quiet" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" look="main" disabled={change.isPending}>
            {change.isPending ? "Renaming…" : "Rename"}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
