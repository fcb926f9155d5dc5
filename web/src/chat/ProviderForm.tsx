import { type FormEvent, useState } from "react";
import { type ProviderFields, useDeleteProvider, useKeepProvider } from "../api/models.ts";
import type { ModelProvider, ModelProviderTested, ProviderKind } from "../api/threadTypes.ts";
import { Button } from "../ui/Button.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { field } from "../ui/field.ts";
import { PROVIDER_KINDS, PROVIDERS } from "./providerKinds.ts";

export type Kept = { provider: ModelProvider; tested: ModelProviderTested };
type Props = { onCancel: () => void; onKept: (kept: Kept) => void };

/** Asks for a provider and its key, and tries them. */
export function ProviderForm({ onCancel, onKept }: Props) {
  const [kind, setKind] = useState<ProviderKind>("anthropic");
  const keep = useKeepProvider();
  const remove = useDeleteProvider();
  const { label, key, from, url, example } = PROVIDERS[kind];
  const refused = keep.data && !keep.data.tested.ok ? keep.data : null;

  function test(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const said = new FormData(event.currentTarget);
    const text = (name: string) => {
      const value = said.get(name);
      return typeof value === "string" ? value.trim() : "";
    };
    const models = text("models").split(/[\s,]+/).filter(Boolean);
    const fields: ProviderFields = {
      kind,
      ...(text("key") && { api_key: text("key") }),
      ...(text("url") && { base_url: text("url") }),
      ...(models.length > 0 && { models, default_model: models[0] }),
    };
    // Of another kind it is another provider: the one that was refused goes.
    const before = refused?.provider;
    const same = before?.kind === kind ? before.id : null;
    if (before && !same) remove.mutate(before.id);
    keep.mutate({ id: same, fields }, { onSuccess: (kept) => kept.tested.ok && onKept(kept) });
  }

  async function cancel() {
    if (refused) await remove.mutateAsync(refused.provider.id).catch(() => undefined);
    onCancel();
  }

  return (
    <form onSubmit={test} className="space-y-4 font-medium">
      <label className="block">
        Provider
        <select
          name="kind"
          value={kind}
          onChange={(event) => setKind(event.target.value as ProviderKind)}
          className={field}
        >
          {PROVIDER_KINDS.map((one) => (
            <option key={one} value={one}>
              {PROVIDERS[one].label}
            </option>
          ))}
        </select>
      </label>
      {url === "needed" && <Address example={example} required />}
      <label className="block">
        API key
        <input
          key={kind}
          name="key"
          type="password"
          required={kind !== "openai-compatible"}
          autoComplete="off"
          spellCheck={false}
          placeholder={key}
          className={`${field} font-mono text-sm`}
        />
        <span className="mt-1.5 block text-sm font-normal text-muted">
          From {from}. It is sealed on this server, never shown again, and no sandbox sees it.
        </span>
      </label>
      <details className="font-normal" open={kind === "bedrock"}>
        <summary className="cursor-pointer text-muted">More</summary>
        <div className="mt-3 space-y-4 font-medium">
          {url === "possible" && <Address example={example} />}
          <label className="block">
            Models
            <input
              name="models"
              autoComplete="off"
              spellCheck={false}
              required={kind === "bedrock"}
              placeholder="Left empty, those that it names itself"
              className={`${field} font-mono text-sm`}
            />
          </label>
        </div>
      </details>
      <div className="space-y-2 font-normal">
        <ErrorText error={keep.error} />
        {refused && (
          <p role="alert" className="leading-relaxed text-pretty text-bad">
            {refused.tested.problem?.message ?? `${label} did not answer as it should`}
            <span className="block text-muted">{refused.tested.problem?.hint}</span>
          </p>
        )}
      </div>
      <div className="flex flex-wrap justify-end gap-2">
        <Button look="quiet" onClick={() => void cancel()}>
          Cancel
        </Button>
        {refused && <Button onClick={() => onKept(refused)}>Keep it all the same</Button>}
        <Button type="submit" look="main" disabled={keep.isPending}>
          {keep.isPending ? "Trying it…" : "Try and keep it"}
        </Button>
      </div>
    </form>
  );
}

function Address({ example, required = false }: { example: string; required?: boolean }) {
  return (
    <label className="block">
      Base URL
      <input
        name="url"
        type="url"
        required={required}
        autoComplete="off"
        spellCheck={false}
        placeholder={example}
        pattern="https?://.+"
        title="An address that begins with http:// or https://"
        className={`${field} font-mono text-sm`}
      />
    </label>
  );
}
