import { useQuery } from "@tanstack/react-query";
import { storeStatsQuery, useMeasureStore, usePrune } from "../api/store.ts";
import { Button } from "../ui/Button.tsx";
import { Confirm } from "../ui/Confirm.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { ago, size } from "../ui/time.ts";
import { useNow } from "../ui/useNow.ts";
import { UsageChart } from "./UsageChart.tsx";
import { savingWords, usageBars } from "./usage.ts";

/** What all snapshots come to, and what sharing contents saves. */
export function StoreSection() {
  const { data: stats, error } = useQuery(storeStatsQuery);
  const measure = useMeasureStore();
  const prune = usePrune();
  const now = useNow();
  const pruned = prune.data;
  const last = stats?.last_prune;
  return (
    <section aria-labelledby="store" className="space-y-4 border-t border-line pt-7">
      <div>
        <h2 id="store" className="font-display text-lg font-semibold">
          Snapshot store
        </h2>
        {stats && (
          <p className="mt-1 text-sm break-words text-muted">
            {stats.snapshots.toLocaleString("en")} snapshots in {stats.kind}{" "}
            <span className="font-mono break-all">{stats.where}</span>, measured {ago(stats.measured_at, now)}.
          </p>
        )}
      </div>
      <ErrorText error={error ?? measure.error ?? prune.error} />
      {!stats && !error && <p className="text-muted">Measuring…</p>}
      {stats?.snapshots === 0 && (
        <p className="max-w-prose leading-relaxed text-pretty text-muted">
          Nothing is saved yet. What is here shows as soon as the first sandbox has fallen idle.
        </p>
      )}
      {stats && stats.snapshots > 0 && (
        <>
          <p className="font-medium">{savingWords(stats)}</p>
          <UsageChart bars={usageBars(stats)} />
          {stats.quota_bytes !== null && (
            <p className="text-sm text-muted">
              {size(stats.stored_bytes - stats.condemned_bytes)} of the {size(stats.quota_bytes)} that it may take.
            </p>
          )}
        </>
      )}
      {stats && (
        <div className="flex flex-wrap items-center gap-2">
          <Button disabled={measure.isPending} onClick={() => measure.mutate()}>
            {measure.isPending ? "Measuring…" : "Measure anew"}
          </Button>
          <Button disabled={prune.isPending} onClick={() => prune.mutate(true)}>
            What would a clean-up do?
          </Button>
          <Confirm
            label={prune.isPending ? "Cleaning up…" : "Clean up now"}
            title="Clean up the store now?"
            explanation="What retention does not keep is condemned, and stays for another 24 hours; what was condemned before that goes for good. Named snapshots stay."
            action="Clean up"
            disabled={prune.isPending}
            onConfirm={() => prune.mutate(false)}
          />
        </div>
      )}
      {pruned && !prune.isPending && (
        <output className="block text-sm">
          {pruned.dry_run ? "It would condemn" : "It condemned"} {pruned.condemned_snapshots.toLocaleString("en")}{" "}
          snapshots ({size(pruned.condemned_bytes)}), and {pruned.dry_run ? "delete" : "deleted"}{" "}
          {pruned.deleted_snapshots.toLocaleString("en")} for good ({size(pruned.deleted_bytes)}).
        </output>
      )}
      {last?.finished_at && !pruned && (
        <p className="text-sm text-muted">The last clean-up ended {ago(last.finished_at, now)}.</p>
      )}
      {last?.error && (
        <p role="alert" className="text-sm text-bad">
          The last clean-up failed: {last.error.message} <span className="text-muted">{last.error.hint}</span>
        </p>
      )}
    </section>
  );
}
