import { type FormEvent, type KeyboardEvent, useState } from "react";
import { useCommit } from "../api/inside.ts";
import type { ChangedFile } from "../api/insideTypes.ts";
import { Button } from "../ui/Button.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { kindOf, pathsOf } from "./grouping.ts";

type Props = {
  handle: string;
  chosen: ChangedFile[];
  /** How many changed files there are. */
  all: number;
  onCommitted: () => void;
};

/** Commits the chosen files with a message. */
export function CommitForm({ handle, chosen, all, onCommitted }: Props) {
  const commit = useCommit(handle);
  const [message, setMessage] = useState("");
  const torn = chosen.filter((file) => kindOf(file) === "conflict");
  const ready = message.trim() !== "" && chosen.length > 0 && !commit.isPending;

  function make(event: FormEvent | KeyboardEvent) {
    event.preventDefault();
    if (!ready) return;
    const some = chosen.length < all ? { filepaths: pathsOf(chosen) } : {};
    commit.mutate(
      { message: message.trim(), ...some },
      {
        onSuccess: () => {
          setMessage("");
          onCommitted();
        },
      },
    );
  }

  return (
    <form onSubmit={make} className="space-y-2">
      <label className="block text-sm font-medium">
        What changed, for the commit
        <textarea
          value={message}
          onChange={(event) => setMessage(event.target.value)}
          onKeyDown={(event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && make(event)}
          rows={2}
          placeholder="In a line; more below it if need be"
          className="mt-1.5 block w-full resize-y rounded-xl border border-line bg-shore px-3.5 py-2 font-normal"
        />
      </label>
      <div className="flex flex-wrap items-center gap-x-4 gap-y-2">
        <Button type="submit" look="main" disabled={!ready} title="Ctrl+Enter">
          {commit.isPending
            ? "Committing…"
            : chosen.length === all
              ? "Commit all"
              : `Commit ${chosen.length} ${chosen.length === 1 ? "file" : "files"}`}
        </Button>
        {torn.length > 0 && (
          <p className="min-w-0 flex-1 text-sm text-shell">
            {torn.length === 1 ? "One is" : `${torn.length} are`} in conflict: a commit takes them as they are.
          </p>
        )}
        {commit.isSuccess && message === "" && (
          <output className="text-sm text-good">
            {commit.data.committed ? "Committed." : "Nothing had changed."}
          </output>
        )}
      </div>
      <ErrorText error={commit.error} />
    </form>
  );
}
