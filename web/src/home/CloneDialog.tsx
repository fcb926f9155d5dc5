import type { FormEvent } from "react";
import type { NewAgent } from "../api/queries.ts";
import { Button } from "../ui/Button.tsx";
import { Dialog } from "../ui/Dialog.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";

const field = "mt-1.5 h-10 w-full rounded-xl border border-line bg-shore px-3.5 font-normal";

type Props = {
  open: boolean;
  busy: boolean;
  error: Error | null;
  onClose: () => void;
  onMake: (wanted: NewAgent) => void;
};

/** Asks for an https address, and for credentials where the repository is private. */
export function CloneDialog({ open, busy, error, onClose, onMake }: Props) {
  function make(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const said = new FormData(event.currentTarget);
    const text = (name: string) => {
      const value = said.get(name);
      return typeof value === "string" && value.trim() ? value.trim() : undefined;
    };
    onMake({
      clone_url: text("url"),
      clone_username: text("user"),
      clone_password: text("password"),
    });
  }

  return (
    <Dialog
      open={open}
      onClose={onClose}
      title="Clone a repository"
      explanation="An agent is made from it; its dependencies are installed and its dev server starts."
    >
      <form onSubmit={make} className="space-y-4 font-medium">
        <label className="block">
          Address
          <input
            name="url"
            type="url"
            required
            placeholder="https://host/owner/repository"
            pattern="https://.+"
            title="An address that begins with https://"
            className={field}
          />
        </label>
        <details className="font-normal">
          <summary className="cursor-pointer text-muted">It is private</summary>
          <div className="mt-3 space-y-4 font-medium">
            <label className="block">
              User name
              <input name="user" autoComplete="off" className={field} />
            </label>
            <label className="block">
              Password or access token
              <input name="password" type="password" autoComplete="off" className={field} />
            </label>
            <p className="font-normal text-muted">Sealed on this server; the sandbox never keeps it.</p>
          </div>
        </details>
        <div className="font-normal">
          <ErrorText error={error} />
        </div>
        <div className="flex justify-end gap-2">
          <Button look="quiet" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" look="main" disabled={busy}>
            {busy ? "Making it…" : "Clone"}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
