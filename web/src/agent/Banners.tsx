import { type Place, snapshotsQuery, useKeepInstead, useRestore } from "../api/queries.ts";
import type { Agent, Sandbox, Snapshot } from "../api/types.ts";
import { some } from "../history/words.ts";
import { useQuery } from "@tanstack/react-query";
import { Button } from "../ui/Button.tsx";
import { Confirm } from "../ui/Confirm.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Notice } from "../ui/Notice.tsx";
import { ago } from "../ui/time.ts";
import { useNow } from "../ui/useNow.ts";
import type { SandboxView } from "./useSandbox.ts";

const placeOf = (agent: Agent): Place => ({ agentId: agent.id, branch: agent.default_branch });

type Props = { agent: Agent; view: SandboxView; onHistory: () => void };

/** What the user must know of this sandbox's work, with the choices there are. */
export function Banners({ agent, view, onHistory }: Props) {
  const { box } = view;
  if (!box) return null;
  const outcome = box.restore?.outcome ?? "";
  const damaged = outcome === "damaged-used-older" || (outcome === "damaged-none" && !box.detached);
  const [aside] = box.side_snapshots;
  if (!box.detached && !aside && !damaged) return null;
  return (
    <div className="space-y-2 px-3 pt-1 sm:px-4">
      {box.detached && <Detached agent={agent} box={box} view={view} onHistory={onHistory} />}
      {damaged && (
        <Notice
          title="The newest snapshot could not be used"
          actions={<Button onClick={onHistory}>See the history</Button>}
        >
          {box.restore?.message}
        </Notice>
      )}
      {aside && !box.detached && (
        <Aside agent={agent} aside={aside} others={box.side_snapshots.length - 1} onHistory={onHistory} />
      )}
    </div>
  );
}

type DetachedProps = Props & { box: Sandbox };

/** It runs without the snapshot that it should have had: go back to that, or go on from here. */
function Detached({ agent, box, view, onHistory }: DetachedProps) {
  const keepInstead = useKeepInstead(placeOf(agent));
  const { data: snapshots } = useQuery(snapshotsQuery(placeOf(agent)));
  const earlier = snapshots?.some(({ lineage }) => lineage === "main") ?? false;
  const busy = view.stopping || view.starting || keepInstead.isPending;
  return (
    <Notice
      title="This sandbox is detached: it runs without its saved work"
      actions={
        <>
          <Confirm
            look="main"
            label="Go back to the saved work"
            title="Go back to the saved work?"
            explanation="What you did here is saved aside first and then offered to you. The sandbox ends and starts again with its saved work."
            action="Go back to it"
            disabled={busy}
            onConfirm={view.restart}
          />
          <Confirm
            label="Use this work"
            title="Use the work that is here?"
            explanation="What is here now becomes the newest snapshot. The work that was saved before stays in the history, and you can go back to it."
            action="Use it"
            disabled={busy || box.state !== "running"}
            onConfirm={() => keepInstead.mutate()}
          />
          {earlier && (
            <Button look="quiet" onClick={onHistory}>
              History
            </Button>
          )}
        </>
      }
    >
      <dl className="grid gap-x-3 sm:grid-cols-[auto_1fr] [&_dt]:font-medium">
        <dt>What happened</dt>
        <dd>{box.detached_reason ?? "It was started while its saved work could not be had."}</dd>
        <dt>What is safe</dt>
        <dd>
          The saved work is untouched. {asideSafety(box)} Nothing is overwritten until you choose.
        </dd>
      </dl>
      <ErrorText error={keepInstead.error} />
    </Notice>
  );
}

/** Where what is done in a detached sandbox is. */
function asideSafety({ last_save_error: failed, unsaved }: Sandbox): string {
  if (failed) return "What you do here is in no snapshot yet; it is saved aside as soon as that works again.";
  return unsaved ? "What you do here is saved aside, the newest of it soon." : "What you did here is saved aside.";
}

type AsideProps = { agent: Agent; aside: Snapshot; others: number; onHistory: () => void };

/** Work that a detached sandbox or a lost race left beside the main line. */
function Aside({ agent, aside, others, onHistory }: AsideProps) {
  const restore = useRestore(placeOf(agent));
  const now = useNow();
  return (
    <Notice
      title="There is work that was saved aside"
      actions={
        <>
          <Confirm
            look="main"
            label={restore.isPending ? "Bringing it back…" : "Bring back"}
            title="Bring back the work that was saved aside?"
            explanation="What is there now is saved first, so that you can return to it."
            action="Bring it back"
            onConfirm={() => restore.mutate(aside.id)}
            disabled={restore.isPending}
          />
          <Button look="quiet" onClick={onHistory}>
            {others > 0 ? `History (${others} more)` : "History"}
          </Button>
        </>
      }
    >
      Saved {ago(aside.created_at, now)}, {some(aside.receipt?.files ?? 0, "file")}.
      Bring it back, or leave it: it stays in the history.
      <ErrorText error={restore.error} />
    </Notice>
  );
}
