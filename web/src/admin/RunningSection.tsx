import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { saveWords } from "../agent/saveState.ts";
import { StateDot } from "../agent/StateDot.tsx";
import { stateWords } from "../agent/stateWords.ts";
import { Whereabouts } from "../agent/Whereabouts.tsx";
import { ORG, sandboxesQuery, useStop } from "../api/queries.ts";
import { figuresQuery } from "../api/store.ts";
import type { Sandbox } from "../api/types.ts";
import { Confirm } from "../ui/Confirm.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { lasted, size } from "../ui/time.ts";
import { useNow } from "../ui/useNow.ts";
import { Cell, Head, Table } from "./Table.tsx";

/** The sandboxes that are up, and what each takes. */
export function RunningSection() {
  const { data: boxes, error } = useQuery(sandboxesQuery);
  const { data: figures, error: noFigures } = useQuery(figuresQuery);
  const up = boxes?.filter(({ state }) => state !== "stopped") ?? [];
  const known = figures?.flatMap(({ memory_bytes: held }) => held ?? []) ?? [];
  return (
    <section aria-labelledby="running" className="space-y-4">
      <div className="flex flex-wrap items-baseline gap-x-4">
        <h2 id="running" className="font-display text-lg font-semibold">
          Sandboxes that run
        </h2>
        {boxes && (
          <p className="text-sm text-muted tabular-nums">
            {up.length} of {boxes.length}
            {known.length > 0 && `, ${size(known.reduce((sum, one) => sum + one, 0))} of memory`}
          </p>
        )}
      </div>
      <ErrorText error={error ?? noFigures} />
      {!boxes && !error && <p className="text-muted">Looking…</p>}
      {boxes && up.length === 0 && (
        <p className="max-w-prose leading-relaxed text-pretty text-muted">
          None. They start when an agent's page is opened or a message is sent, and are saved when they fall idle.
        </p>
      )}
      {up.length > 0 && (
        <Table label="Sandboxes that run">
          <thead>
            <tr>
              <Head>Agent</Head>
              <Head>State</Head>
              <Head>Last save</Head>
              <Head right>Saved size</Head>
              <Head right>Idle</Head>
              <Head right>Memory</Head>
              <Head>
                <span className="sr-only">What can be done</span>
              </Head>
            </tr>
          </thead>
          <tbody>
            {up.map((box) => (
              <Row key={box.handle} box={box} figures={figures?.find(({ handle }) => handle === box.handle)} />
            ))}
          </tbody>
        </Table>
      )}
    </section>
  );
}

type RowProps = { box: Sandbox; figures: { memory_bytes: number | null; idle_ms: number | null } | undefined };

function Row({ box, figures }: RowProps) {
  const stop = useStop();
  const state = stateWords(box);
  const saved = saveWords(box, useNow());
  const saved_bytes = box.last_save?.receipt?.bytes;
  return (
    <tr>
      <Cell heading>
        <Link
          to="/$org/agents/$agentId"
          params={{ org: ORG, agentId: box.agent_id }}
          search={{ branch: box.branch }}
          className="font-medium underline-offset-2 hover:underline"
        >
          {box.agent_title}
        </Link>
        <span className="block truncate font-mono text-xs font-normal text-muted">{box.branch}</span>
      </Cell>
      <Cell>
        <span className="flex items-center gap-2 whitespace-nowrap">
          <StateDot tone={state.tone} /> {state.text}
        </span>
      </Cell>
      <Cell>
        <span className="flex items-center gap-2 whitespace-nowrap" title={saved.detail}>
          <Whereabouts where={saved.where} /> {saved.text}
        </span>
      </Cell>
      <Cell right>{saved_bytes === undefined ? "–" : size(saved_bytes)}</Cell>
      <Cell right>{figures?.idle_ms == null ? "–" : lasted(figures.idle_ms)}</Cell>
      <Cell right>{figures?.memory_bytes == null ? "–" : size(figures.memory_bytes)}</Cell>
      <Cell right>
        {box.state === "running" && (
          <Confirm
            look="quiet"
            label={
              <>
                Stop<span className="sr-only"> {box.agent_title}</span>
              </>
            }
            title={`Stop ${box.agent_title}?`}
            explanation="Its work is saved first. It comes back as it was when it is started again."
            action="Save and stop"
            disabled={stop.isPending}
            onConfirm={() => stop.mutate({ handle: box.handle, force: false })}
          />
        )}
        <ErrorText error={stop.error} />
      </Cell>
    </tr>
  );
}
