import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { providersQuery } from "../api/models.ts";
import { ModelsDialog } from "../chat/ModelsDialog.tsx";
import { ProviderRow } from "../chat/ProviderRow.tsx";
import { Section } from "../settings/Section.tsx";
import { Button } from "../ui/Button.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Icon } from "../ui/Icon.tsx";

/** Where models come from. */
export function ModelsSection() {
  const { data: providers, error } = useQuery(providersQuery);
  const [adding, setAdding] = useState(false);
  return (
    <Section title="Model providers" explanation="Keys go in and never come out. They stay on this server.">
      <div className="space-y-4">
        <ErrorText error={error} />
        {!providers && !error && <p className="text-muted">Looking…</p>}
        {providers?.length === 0 && <p className="text-muted">There is none, so no agent can answer.</p>}
        {providers && providers.length > 0 && (
          <ul aria-label="Model providers" className="divide-y divide-line rounded-2xl border border-line bg-raised">
            {providers.map((provider) => (
              <ProviderRow key={provider.id} provider={provider} />
            ))}
          </ul>
        )}
        <Button onClick={() => setAdding(true)}>
          <Icon name="plus" className="size-4" /> Add a model key
        </Button>
      </div>
      {adding && <ModelsDialog adds onClose={() => setAdding(false)} />}
    </Section>
  );
}
