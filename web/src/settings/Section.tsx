import { useLocation } from "@tanstack/react-router";
import { type FormEvent, type ReactNode, useId } from "react";
import { Button } from "../ui/Button.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";

/** The pane comes later than the address that leads into it. */
const intoView = (section: HTMLElement | null) => section?.scrollIntoView({ block: "start" });

type SectionProps = {
  /** What an address can lead to. */
  id?: string;
  title: string;
  explanation?: ReactNode;
  children: ReactNode;
};

/** One subject of the settings. */
export function Section({ id, title, explanation, children }: SectionProps) {
  const heading = useId();
  const wanted = useLocation({ select: ({ hash }) => hash !== "" && hash === id });
  return (
    <section id={id} ref={wanted ? intoView : undefined} aria-labelledby={heading} className="grid scroll-mt-4 gap-x-8 gap-y-4 border-t border-line pt-7 first:border-0 first:pt-0 @2xl:grid-cols-[14rem_1fr]">
      <div>
        <h2 id={heading} className="font-display text-lg font-semibold">
          {title}
        </h2>
        {explanation && <div className="mt-1 text-sm leading-relaxed text-pretty text-muted">{explanation}</div>}
      </div>
      <div className="min-w-0">{children}</div>
    </section>
  );
}

type Change = { isPending: boolean; isSuccess: boolean; error: Error | null };
type FormProps = {
  change: Change;
  /** What is said when it is kept. */
  done?: string;
  onSave: (said: FormData) => void;
  /** Stands beside the button. */
  beside?: ReactNode;
  children: ReactNode;
};

/** Fields that are kept together, and whether they are. */
export function SettingsForm({ change, done = "Kept.", onSave, beside, children }: FormProps) {
  function save(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    onSave(new FormData(event.currentTarget));
  }
  return (
    <form onSubmit={save} className="space-y-4 font-medium" autoComplete="off">
      {children}
      <div className="flex flex-wrap items-center gap-2 font-normal">
        <Button type="submit" disabled={change.isPending}>
          {change.isPending ? "Keeping it…" : "Keep it"}
        </Button>
        {beside}
        <output className="text-sm text-good">{change.isSuccess && !change.isPending && done}</output>
      </div>
      <div className="font-normal">
        <ErrorText error={change.error} />
      </div>
    </form>
  );
}

/** A field's text; empty where there is none. */
export function textOf(said: FormData, name: string): string {
  const value = said.get(name);
  return typeof value === "string" ? value.trim() : "";
}
