import { type FormEvent, useState } from "react";
import { type Place, useSave } from "../api/queries.ts";
import { Button } from "../ui/Button.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";

/** Save now, under a name if there is one. */
export function SaveForm({ place, running }: { place: Place; running: boolean }) {
  const save = useSave(place);
  const [name, setName] = useState("");

  function saveNow(event: FormEvent) {
    event.preventDefault();
    save.mutate(name.trim(), { onSuccess: () => setName("") });
  }

  return (
    <form onSubmit={saveNow} className="space-y-2">
      <div className="flex max-w-xl gap-2">
        <input
          value={name}
          onChange={(event) => setName(event.target.value)}
          maxLength={100}
          placeholder="A name, if you like"
          aria-label="Name of the snapshot"
          disabled={!running}
          className="h-9 min-w-0 flex-1 rounded-full border border-line bg-raised px-4 text-sm focus-visible:rounded-full disabled:opacity-60"
        />
        <Button type="submit" look="main" disabled={!running || save.isPending}>
          {save.isPending ? "Saving…" : "Save now"}
        </Button>
      </div>
      {!running && <p className="text-sm text-muted">Start the sandbox to save it; what is below can be brought back any time.</p>}
      {save.data && !save.isPending && !save.error && (
        <output className="block text-sm text-good">Saved{save.data.name && `: ${save.data.name}`}</output>
      )}
      <ErrorText error={save.error} />
    </form>
  );
}
