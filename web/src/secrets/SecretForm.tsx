import type { FormEvent } from "react";
import { useSetSecret } from "../api/queries.ts";
import type { SecretChanged } from "../api/types.ts";
import { Button } from "../ui/Button.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";

const field = "mt-1.5 w-full rounded-xl border border-line bg-shore px-3.5 font-mono text-sm font-normal";

/** Sets a secret, or another value of one that is there. The value leaves the page with that. */
export function SecretForm({ agentId }: { agentId: string }) {
  const setting = useSetSecret(agentId);

  function set(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = event.currentTarget;
    const said = new FormData(form);
    const wanted = { name: String(said.get("name")).trim(), value: String(said.get("value")) };
    setting.mutate(wanted, { onSuccess: () => form.reset() });
  }

  return (
    <form onSubmit={set} className="space-y-4 font-medium" autoComplete="off">
      <label className="block">
        Name
        <input
          name="name"
          required
          maxLength={128}
          pattern="\s*[A-Za-z_][A-Za-z0-9_]*\s*"
          title="Letters, digits and _, not beginning with a digit"
          placeholder="API_KEY"
          autoCapitalize="off"
          spellCheck={false}
          className={`${field} h-10`}
        />
      </label>
      <label className="block">
        Value
        <textarea
          name="value"
          required
          rows={2}
          autoComplete="off"
          autoCapitalize="off"
          spellCheck={false}
          className={`${field} py-2 [-webkit-text-security:disc]`}
        />
      </label>
      <div className="flex flex-wrap items-center justify-between gap-3 font-normal">
        <output className="min-w-0 flex-1 basis-48 text-sm text-muted">
          {setting.data && told(setting.data)}
        </output>
        <Button type="submit" look="main" disabled={setting.isPending}>
          {setting.isPending ? "Setting it…" : "Set it"}
        </Button>
      </div>
      <ErrorText error={setting.error} />
    </form>
  );
}

function told({ secret, given_to, not_reached }: SecretChanged): string {
  const name = secret?.name ?? "It";
  if (not_reached.length) return `${name} is set. A sandbox did not answer: it has it when it is started again.`;
  if (given_to.length) return `${name} is set. What runs already has it once it is started again.`;
  return `${name} is set.`;
}
