import { Link } from "@tanstack/react-router";
import type { FormEvent } from "react";
import { ORG } from "../api/queries.ts";
import { useForkTurn } from "../api/threads.ts";
import { Button, buttonLook } from "../ui/Button.tsx";
import { Dialog } from "../ui/Dialog.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { field } from "../ui/field.ts";

type Props = { thread: string; run: string; when: "before" | "after"; onClose: () => void };

/** Begins another conversation, on another branch, with the files of a turn. */
export function ForkTurnDialog({ thread, run, when, onClose }: Props) {
  const fork = useForkTurn(thread);
  const made = fork.data;

  function begin(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const said = new FormData(event.currentTarget).get("title");
    const title = typeof said === "string" ? said.trim() : "";
    fork.mutate({ run, when, ...(title && { title }) });
  }

  return (
    <Dialog
      open
      onClose={onClose}
      title={made ? "It is forked" : when === "after" ? "Fork from here" : "Fork from before this turn"}
      explanation={
        made
          ? `${made.title} is on the branch ${made.branch}; opening it starts its sandbox.`
          : "Another conversation begins on a branch of its own, with the files as they were then. This one goes on as it is."
      }
    >
      {made ? (
        <div className="flex justify-end gap-2">
          <Button look="quiet" onClick={onClose}>
            Stay here
          </Button>
          <Link
            to="/$org/agents/$agentId"
            params={{ org: ORG, agentId: made.agent_id }}
            search={({ main }) => ({ ...(main && { main }), branch: made.branch, thread: made.id })}
            onClick={onClose}
            className={buttonLook("main")}
          >
            Open it
          </Link>
        </div>
      ) : (
        <form onSubmit={begin} className="space-y-4">
          <label className="block font-medium">
            Title
            <input
              name="title"
              maxLength={255}
              autoComplete="off"
              placeholder="Left empty, it is called as this one"
              className={field}
            />
          </label>
          <ErrorText error={fork.error} />
          <div className="flex justify-end gap-2">
            <Button look="quiet" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" look="main" disabled={fork.isPending}>
              {fork.isPending ? "Forking…" : "Fork"}
            </Button>
          </div>
        </form>
      )}
    </Dialog>
  );
}
