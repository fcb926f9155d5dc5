import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { doctorQuery } from "../api/store.ts";
import { Section } from "../settings/Section.tsx";
import { Button } from "../ui/Button.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Icon, type IconName } from "../ui/Icon.tsx";

const marks: Record<"ok" | "warning" | "failed", { icon: IconName; colour: string; words: string }> = {
  ok: { icon: "check", colour: "text-good", words: "fine" },
  warning: { icon: "warn", colour: "text-shell", words: "worth a look" },
  failed: { icon: "cross", colour: "text-bad", words: "must be mended" },
};

/** What the server finds missing or wrong where it runs, and what to do about it. */
export function DoctorSection() {
  const [store, setStore] = useState(false);
  const { data: report, error, isFetching, refetch } = useQuery(doctorQuery(store));
  return (
    <Section
      title="Doctor"
      explanation={
        <>
          What <code>limpet doctor</code> says on the machine that serves.
        </>
      }
    >
      <div className="space-y-4">
        <ErrorText error={error} />
        {!report && !error && <p className="text-muted">Looking around…</p>}
        {report && (
          <ul aria-label="Findings" className="divide-y divide-line rounded-2xl border border-line bg-raised">
            {report.findings.map(({ what, verdict, found, remedy }) => {
              const { icon, colour, words } = marks[verdict];
              return (
                <li key={what} className="flex gap-3 px-4 py-2.5 text-sm">
                  <Icon name={icon} className={`mt-0.5 size-4 ${colour}`} />
                  <div className="min-w-0">
                    <p className="break-words">
                      <span className="font-medium">{what}</span>
                      <span className="sr-only"> ({words})</span>: {found}
                    </p>
                    {remedy && <p className="mt-0.5 break-words text-muted">{remedy}</p>}
                  </div>
                </li>
              );
            })}
          </ul>
        )}
        <div className="flex flex-wrap gap-2">
          <Button disabled={isFetching} onClick={() => void refetch()}>
            {isFetching ? "Looking around…" : "Look again"}
          </Button>
          {!store && (
            <Button disabled={isFetching} onClick={() => setStore(true)}>
              Try the store too
            </Button>
          )}
        </div>
      </div>
    </Section>
  );
}
