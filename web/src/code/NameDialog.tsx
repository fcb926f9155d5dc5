import { type FormEvent, useState } from "react";
import { ROOT } from "../api/inside.ts";
import { Button } from "../ui/Button.tsx";
import { Dialog } from "../ui/Dialog.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { badName } from "./paths.ts";

type Props = {
  kind: "file" | "folder" | "move";
  /** The folder of what is new, or what is moved. */
  at: string;
  busy: boolean;
  error: Error | null;
  onClose: () => void;
  onName: (name: string) => void;
};

const words = {
  file: { title: "New file", action: "Make it", label: "Name" },
  folder: { title: "New folder", action: "Make it", label: "Name" },
  move: { title: "Rename or move", action: "Move it", label: "Path in the repository" },
};

/** Asks what something is called. */
export function NameDialog({ kind, at, busy, error, onClose, onName }: Props) {
  const { title, action, label } = words[kind];
  const [bad, setBad] = useState<string | null>(null);

  function take(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const said = new FormData(event.currentTarget).get("name");
    const name = typeof said === "string" ? said.trim() : "";
    const wrong = badName(name);
    setBad(wrong);
    if (!wrong) onName(name);
  }

  return (
    <Dialog
      open
      onClose={onClose}
      title={title}
      explanation={
        kind === "move"
          ? "Another folder in the path moves it there."
          : `In ${at === ROOT ? "the repository's own folder" : at}. A slash makes folders, too.`
      }
    >
      <form onSubmit={take} className="space-y-4">
        <label className="block font-medium">
          {label}
          <input
            name="name"
            defaultValue={kind === "move" ? at : ""}
            autoComplete="off"
            spellCheck={false}
            aria-invalid={bad !== null}
            className="mt-1.5 h-10 w-full rounded-xl border border-line bg-shore px-3.5 font-mono text-sm font-normal"
          />
        </label>
        {bad && (
          <p role="alert" className="text-bad">
            {bad}
          </p>
        )}
        <ErrorText error={error} />
        <div className="flex justify-end gap-2">
          <Button look="quiet" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" look="main" disabled={busy}>
            {busy ? "Working…" : action}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
