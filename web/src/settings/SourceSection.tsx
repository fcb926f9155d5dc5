import { useChangeAgent } from "../api/queries.ts";
import { field } from "../ui/field.ts";
import { Section, SettingsForm, textOf } from "./Section.tsx";
import type { OfAgent } from "./SettingsPane.tsx";

/** Where its files came from. It stays: a sandbox's work belongs to it. */
export function SourceSection({ agent }: OfAgent) {
  const { template, clone_url: url, clone_url_has_credentials: sealed } = agent.metadata;
  const change = useChangeAgent(agent.id);
  return (
    <Section title="Source" explanation="Where its files came from. It stays, since the work belongs to it.">
      {url ? (
        <div className="space-y-4">
          <p className="font-mono text-sm break-all">{url}</p>
          <SettingsForm
            change={change}
            done="Kept, and sealed."
            onSave={(said) =>
              change.mutate({ clone_username: textOf(said, "user") || null, clone_password: textOf(said, "password") })
            }
          >
            <p className="font-normal text-muted">
              {sealed ? "Its credentials are sealed on this server. Others take their place:" : "It is cloned without credentials. Should it need some:"}
            </p>
            <div className="grid gap-4 sm:grid-cols-2">
              <label className="block">
                User name
                <input name="user" autoComplete="off" className={field} />
              </label>
              <label className="block">
                Password or access token
                <input name="password" type="password" required autoComplete="new-password" className={field} />
              </label>
            </div>
          </SettingsForm>
        </div>
      ) : (
        <p>{template ? `The template “${template}”.` : "None: it began with an empty workspace."}</p>
      )}
    </Section>
  );
}
