import type { PaneProps } from "../agent/panes.tsx";
import { OWN_PROGRAM } from "../agent/views.ts";
import { useQuery } from "@tanstack/react-query";
import { secretsQuery, useChangeAgent } from "../api/queries.ts";
import { McpServersSection } from "../mcp/McpServersSection.tsx";
import { SecretForm } from "../secrets/SecretForm.tsx";
import { SecretList } from "../secrets/SecretList.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { area, field } from "../ui/field.ts";
import { DeleteAgent } from "./DeleteAgent.tsx";
import { EgressSection } from "./EgressSection.tsx";
import { LayoutSection } from "./LayoutSection.tsx";
import { RetentionForm } from "./RetentionForm.tsx";
import { Section, SettingsForm, textOf } from "./Section.tsx";
import { SourceSection } from "./SourceSection.tsx";

/** All that can be said of an agent. */
export function SettingsPane({ agent }: PaneProps) {
  return (
    <div className="@container h-full overflow-auto p-5 sm:p-8">
      <div className="mx-auto max-w-4xl space-y-8 pb-10">
        <AboutSection agent={agent} />
        <SourceSection agent={agent} />
        <StartSection agent={agent} />
        <ProgramSection agent={agent} />
        <McpServersSection agentId={agent.id} />
        <LayoutSection agent={agent} />
        <EgressSection agent={agent} />
        <SecretsSection agent={agent} />
        <Section
          title="Retention"
          explanation="How many snapshots are kept of each of its branches. Named ones stay until they are deleted."
        >
          <RetentionForm agentId={agent.id} />
        </Section>
        <DeleteAgent agent={agent} />
      </div>
    </div>
  );
}

export type OfAgent = Pick<PaneProps, "agent">;

function AboutSection({ agent }: OfAgent) {
  const change = useChangeAgent(agent.id);
  return (
    <Section title="About" explanation="Instructions go to the model with each message.">
      <SettingsForm
        change={change}
        onSave={(said) =>
          change.mutate({
            title: textOf(said, "title"),
            description: textOf(said, "description"),
            instructions: textOf(said, "instructions"),
            pinned: said.has("pinned"),
          })
        }
      >
        <label className="block">
          Title
          <input name="title" required maxLength={255} defaultValue={agent.title} className={field} />
        </label>
        <label className="block">
          Description
          <input name="description" maxLength={10_000} defaultValue={agent.description} className={field} />
        </label>
        <label className="block">
          Instructions
          <textarea
            name="instructions"
            rows={6}
            maxLength={100_000}
            defaultValue={agent.metadata.instructions}
            className={`${area} max-h-96 field-sizing-content min-h-36 text-sm`}
          />
        </label>
        <label className="flex items-center gap-2.5">
          <input name="pinned" type="checkbox" defaultChecked={agent.pinned} className="size-4 accent-sea" />
          Pinned to the sidebar
        </label>
      </SettingsForm>
    </Section>
  );
}

function StartSection({ agent }: OfAgent) {
  const change = useChangeAgent(agent.id);
  return (
    <Section
      title="Start command"
      explanation="What a shell runs to start the app. Left empty, it is found out from the project. Counts from the sandbox's next start on."
    >
      <SettingsForm
        change={change}
        done="Kept, for its next start."
        onSave={(said) => change.mutate({ start_command: textOf(said, "command") || null })}
      >
        <label className="block">
          Command
          <input
            name="command"
            maxLength={8000}
            defaultValue={agent.metadata.start_command ?? ""}
            placeholder="npm run dev"
            spellCheck={false}
            autoCapitalize="off"
            className={`${field} font-mono text-sm`}
          />
        </label>
      </SettingsForm>
    </Section>
  );
}

/** The program that answers where a conversation is driven by the agent's own. */
function ProgramSection({ agent }: OfAgent) {
  const change = useChangeAgent(agent.id);
  return (
    <Section
      id={OWN_PROGRAM}
      title="Agent of your choice"
      explanation={
        <>
          A program in the sandbox that speaks the{" "}
          <a href="https://agentclientprotocol.com" target="_blank" rel="noreferrer" className="underline underline-offset-4">
            Agent Client Protocol
          </a>
          . Conversations choose it beside the model; it counts from the next message on.
        </>
      }
    >
      <SettingsForm
        change={change}
        onSave={(said) => change.mutate({ acp_command: textOf(said, "program") || null })}
      >
        <label className="block">
          Command
          <input
            name="program"
            maxLength={2000}
            defaultValue={agent.metadata.acp_command ?? ""}
            placeholder="npx -y @agentclientprotocol/claude-agent-acp"
            spellCheck={false}
            autoCapitalize="off"
            className={`${field} font-mono text-sm`}
          />
        </label>
        <p className="text-sm font-normal text-muted">
          It runs without a shell, and is given the chosen model; left empty, there is none.
        </p>
      </SettingsForm>
    </Section>
  );
}

function SecretsSection({ agent }: OfAgent) {
  const { data: secrets, error } = useQuery(secretsQuery(agent.id));
  return (
    <Section
      title="Secrets"
      explanation="Environment variables for everything that runs in its sandboxes. Values are sealed, and never shown again."
    >
      <div className="space-y-6">
        <ErrorText error={error} />
        {!secrets && !error && <p className="text-muted">Looking…</p>}
        {secrets && <SecretList agentId={agent.id} secrets={secrets} />}
        <SecretForm agentId={agent.id} />
      </div>
    </Section>
  );
}
