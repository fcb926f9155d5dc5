import { VIEWS, viewCalled } from "../agent/views.ts";
import { type AgentChange, useChangeAgent } from "../api/queries.ts";
import { field } from "../ui/field.ts";
import { Section, SettingsForm, textOf } from "./Section.tsx";
import type { OfAgent } from "./SettingsPane.tsx";

type Layout = NonNullable<AgentChange["ui"]>["layout"];
const OPENS_ON: Layout["default_main_view"][] = ["preview", "chat", "terminal", "history", "settings"];
const SIDES: Record<Layout["chat_side"], string> = {
  left: "On the left",
  right: "On the right",
  none: "A view of its own",
};

/** What its page shows first, and where the chat is. */
export function LayoutSection({ agent }: OfAgent) {
  const change = useChangeAgent(agent.id);
  const { layout } = agent.metadata.ui;
  return (
    <Section title="Layout" explanation="For everybody who opens it. How wide the chat is each browser keeps by itself.">
      <SettingsForm
        change={change}
        onSave={(said) =>
          change.mutate({
            ui: {
              layout: {
                default_main_view: textOf(said, "view") as Layout["default_main_view"],
                chat_side: textOf(said, "side") as Layout["chat_side"],
              },
            },
          })
        }
      >
        <div className="grid gap-4 sm:grid-cols-2">
          <label className="block">
            Opens on
            <select name="view" defaultValue={layout.default_main_view} className={field}>
              {OPENS_ON.filter(viewCalled).map((name) => (
                <option key={name} value={name}>
                  {VIEWS.find((view) => view.name === name)?.label}
                </option>
              ))}
            </select>
          </label>
          <label className="block">
            The chat
            <select name="side" defaultValue={layout.chat_side} className={field}>
              {Object.entries(SIDES).map(([side, words]) => (
                <option key={side} value={side}>
                  {words}
                </option>
              ))}
            </select>
          </label>
        </div>
      </SettingsForm>
    </Section>
  );
}
