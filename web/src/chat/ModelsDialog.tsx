import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { providersQuery, useChooseDefault } from "../api/models.ts";
import type { ModelProvider } from "../api/threadTypes.ts";
import { Button } from "../ui/Button.tsx";
import { Dialog } from "../ui/Dialog.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Icon } from "../ui/Icon.tsx";
import { field } from "../ui/field.ts";
import { type Kept, ProviderForm } from "./ProviderForm.tsx";
import { ProviderRow } from "./ProviderRow.tsx";

/** Where models come from: the providers that there are, and the way to add one; `adds`: only that. */
export function ModelsDialog({ adds = false, onClose }: { adds?: boolean; onClose: () => void }) {
  const { data: providers, error } = useQuery(providersQuery);
  const [adding, setAdding] = useState<"first" | "another" | "no" | null>(adds ? "first" : null);
  const [kept, setKept] = useState<Kept | null>(null);
  if (kept) return <Chosen kept={kept} onClose={onClose} />;
  // Where there is none yet it begins with adding one, which goes on when it is there.
  if (adding === null && providers) setAdding(providers.length === 0 ? "first" : "no");
  if (adding === "first" || adding === "another") {
    return (
      <Dialog
        open
        onClose={onClose}
        title="Add a model key"
        explanation="The agent thinks with a model of yours. What it takes is billed by its provider."
      >
        <ProviderForm onCancel={() => (adding === "first" ? onClose() : setAdding("no"))} onKept={setKept} />
      </Dialog>
    );
  }
  return (
    <Dialog open onClose={onClose} title="Models and keys" explanation="Keys go in and never come out.">
      <ErrorText error={error} />
      {!providers && !error && <p className="text-muted">Looking…</p>}
      {providers && providers.length > 0 && (
        <ul className="divide-y divide-line rounded-2xl border border-line">
          {providers.map((provider) => (
            <ProviderRow key={provider.id} provider={provider} />
          ))}
        </ul>
      )}
      {providers?.length === 0 && <p className="text-muted">There is none now, so no agent can answer.</p>}
      <div className="mt-5 flex flex-wrap justify-end gap-2">
        <Button look="quiet" onClick={onClose}>
          Close
        </Button>
        <Button look="main" onClick={() => setAdding("another")}>
          <Icon name="plus" className="size-4" /> Add another
        </Button>
      </div>
    </Dialog>
  );
}

/** It is kept: which of its models answers where none was chosen? */
function Chosen({ kept, onClose }: { kept: Kept; onClose: () => void }) {
  const { provider, tested } = kept;
  const choose = useChooseDefault();
  const models = modelsOf(provider, tested.models);
  const [model, setModel] = useState(provider.default_model ?? models[0] ?? "");
  return (
    <Dialog
      open
      onClose={onClose}
      title={tested.ok ? "It answers" : "It is kept"}
      explanation={
        models.length > 0
          ? "Choose the model that answers where a conversation names none."
          : "It named no models; they can be added under Models and keys."
      }
    >
      <form
        className="space-y-4"
        onSubmit={(event) => {
          event.preventDefault();
          if (!model) onClose();
          else choose.mutate({ id: provider.id, model }, { onSuccess: onClose });
        }}
      >
        {models.length > 0 && (
          <label className="block font-medium">
            Model
            <select value={model} onChange={(event) => setModel(event.target.value)} className={field}>
              {models.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </label>
        )}
        <ErrorText error={choose.error} />
        <div className="flex justify-end">
          <Button type="submit" look="main" disabled={choose.isPending}>
            {choose.isPending ? "Keeping it…" : "Done"}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

const modelsOf = (provider: ModelProvider, told: string[]) => [
  ...new Set([...(provider.default_model ? [provider.default_model] : []), ...provider.models, ...told]),
];
