import { useDeleteProvider, useTestProvider } from "../api/models.ts";
import type { ModelProvider } from "../api/threadTypes.ts";
import { Button } from "../ui/Button.tsx";
import { Confirm } from "../ui/Confirm.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { PROVIDERS } from "./providerKinds.ts";

/** One provider: whether it answers, and the way to be rid of it. */
export function ProviderRow({ provider }: { provider: ModelProvider }) {
  const test = useTestProvider();
  const remove = useDeleteProvider();
  const { name, kind, models, default_model: chosen } = provider;
  const count = `${models.length} ${models.length === 1 ? "model" : "models"}`;
  return (
    <li className="p-3.5">
      <div className="flex flex-wrap items-center gap-x-3 gap-y-2">
        <div className="min-w-0 flex-1 basis-56">
          <p className="flex items-center gap-2 font-medium">
            <span className="truncate">{name}</span>
            {provider.is_default && (
              <span className="rounded-full bg-sea-wash px-2 py-0.5 text-xs text-sea">default</span>
            )}
          </p>
          <p className="truncate text-sm text-muted">
            {[name === PROVIDERS[kind].label ? null : PROVIDERS[kind].label, chosen, count].filter(Boolean).join(" · ")}
          </p>
        </div>
        <div className="flex max-sm:-ml-4">
          <Button look="quiet" disabled={test.isPending} onClick={() => test.mutate(provider.id)}>
            {test.isPending ? "Trying…" : "Try it"}
          </Button>
          <Confirm
            look="quiet"
            label="Remove"
            title={`Remove ${name}?`}
            explanation="Its key is forgotten. Conversations that use its models ask for another one."
            action="Remove it"
            dangerous
            disabled={remove.isPending}
            onConfirm={() => remove.mutate(provider.id)}
          />
        </div>
      </div>
      {test.data && (
        <output className={`mt-2 block text-sm ${test.data.ok ? "text-good" : "text-bad"}`}>
          {test.data.ok ? `It answers, with ${test.data.models.length} models.` : test.data.problem?.message}
          {!test.data.ok && <span className="block text-muted">{test.data.problem?.hint}</span>}
        </output>
      )}
      <ErrorText error={test.error ?? remove.error} />
    </li>
  );
}
