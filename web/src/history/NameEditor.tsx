import { type FormEvent, type KeyboardEvent, useState } from "react";
import { type Place, useName } from "../api/queries.ts";
import type { Snapshot } from "../api/types.ts";
import { Button } from "../ui/Button.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { nameOf } from "./words.ts";

type Props = { place: Place; snapshot: Snapshot; onClose: () => void };

/** It appears because somebody asked for it. */
function begin(input: HTMLInputElement | null) {
  input?.focus();
  input?.select();
}

/** Names a snapshot where it stands: Enter keeps the name, Escape leaves it; empty takes it away. */
export function NameEditor({ place, snapshot, onClose }: Props) {
  const naming = useName(place);
  const going = snapshot.condemned_at !== null;
  const [name, setName] = useState(nameOf(snapshot) ?? (going ? "Kept" : ""));
  const wanted = name.trim();
  const useless = wanted === "" && going;

  function keep(event: FormEvent) {
    event.preventDefault();
    if (useless) return;
    if (wanted === (nameOf(snapshot) ?? "")) return onClose();
    naming.mutate({ snapshot: snapshot.id, name: wanted || null }, { onSuccess: onClose });
  }

  function leave(event: KeyboardEvent) {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    onClose();
  }

  return (
    <form onSubmit={keep} className="space-y-2 pb-2">
      <div className="flex flex-wrap gap-2">
        <input
          ref={begin}
          value={name}
          onKeyDown={leave}
          onChange={(event) => setName(event.target.value)}
          maxLength={100}
          aria-label="Its name"
          placeholder="A name keeps it until you delete it"
          className="h-9 min-w-0 flex-1 basis-48 rounded-full border border-line bg-raised px-4 text-sm focus-visible:rounded-full"
        />
        <Button type="submit" look="main" disabled={naming.isPending || useless}>
          {going ? "Keep it" : wanted === "" && nameOf(snapshot) ? "Take its name away" : "Name it"}
        </Button>
        <Button look="quiet" onClick={onClose}>
          Cancel
        </Button>
      </div>
      <ErrorText error={naming.error} />
    </form>
  );
}
