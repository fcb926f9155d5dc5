import { Link } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { ORG, type Place, useFork } from "../api/queries.ts";
import type { Forked, Snapshot } from "../api/types.ts";
import { Button, buttonLook } from "../ui/Button.tsx";
import { Dialog } from "../ui/Dialog.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";

const field = "mt-1.5 h-10 w-full rounded-xl border border-line bg-shore px-3.5 font-normal";

type Props = { place: Place; snapshot: Snapshot; called: string; onClose: () => void };

/** Begins a new branch, or a new agent, with a snapshot. */
export function ForkDialog({ place, snapshot, called, onClose }: Props) {
  const fork = useFork(place, snapshot.id);
  const [kind, setKind] = useState<"branch" | "agent">("branch");

  function begin(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const said = new FormData(event.currentTarget).get("called");
    const text = typeof said === "string" ? said.trim() : "";
    fork.mutate(
      kind === "branch"
        ? text
          ? { to_branch: text }
          : {}
        : { new_agent: text ? { title: text } : {} },
    );
  }

  return (
    <Dialog
      open
      onClose={onClose}
      title={fork.data ? "It is forked" : `Fork ${called}`}
      explanation="It begins with exactly this state, and nothing is copied. What is here goes on as it is."
    >
      {fork.data ? (
        <Begun forked={fork.data} onClose={onClose} />
      ) : (
        <form onSubmit={begin} className="space-y-4">
          <fieldset className="grid gap-2 sm:grid-cols-2">
            <legend className="sr-only">What begins with it</legend>
            <Choice
              value="branch"
              title="A new branch"
              text="Another sandbox of this agent."
              chosen={kind}
              onChoose={setKind}
            />
            <Choice
              value="agent"
              title="A new agent"
              text="With the same settings, on a branch of its own."
              chosen={kind}
              onChoose={setKind}
            />
          </fieldset>
          <label className="block font-medium">
            {kind === "branch" ? "Branch" : "Title"}
            <input
              key={kind}
              name="called"
              maxLength={kind === "branch" ? 200 : 255}
              autoComplete="off"
              spellCheck={kind === "agent"}
              placeholder={kind === "branch" ? "Left empty, a name is made up" : "Left empty, it is called as this one"}
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

type ChoiceProps<T> = {
  value: T;
  title: string;
  text: string;
  chosen: T;
  onChoose: (value: T) => void;
};

function Choice<T extends string>({ value, title, text, chosen, onChoose }: ChoiceProps<T>) {
  return (
    <label
      aria-label={title}
      className="flex cursor-pointer gap-2.5 rounded-2xl border border-line p-3.5 has-checked:border-sea has-checked:bg-sea-wash has-focus-visible:outline-2"
    >
      <input
        type="radio"
        name="kind"
        value={value}
        checked={chosen === value}
        onChange={() => onChoose(value)}
        aria-label={title}
        className="mt-1 size-4 shrink-0 accent-sea focus-visible:outline-none"
      />
      <span>
        <span className="block font-medium">{title}</span>
        <span className="block text-sm text-muted">{text}</span>
      </span>
    </label>
  );
}

function Begun({ forked, onClose }: { forked: Forked; onClose: () => void }) {
  const { agent, branch } = forked;
  return (
    <div className="space-y-5">
      <output className="block text-good">
        {forked.is_new_agent ? `${agent.title} is there` : `${branch} is there`}; opening it starts
        its sandbox.
      </output>
      <div className="flex justify-end gap-2">
        <Button look="quiet" onClick={onClose}>
          Stay here
        </Button>
        <Link
          to="/$org/agents/$agentId"
          params={{ org: ORG, agentId: agent.id }}
          search={branch === agent.default_branch ? {} : { branch }}
          onClick={onClose}
          className={buttonLook("main")}
        >
          Open it
        </Link>
      </div>
    </div>
  );
}
