import { useRestore } from "../api/queries.ts";
import type { Agent, Sandbox } from "../api/types.ts";
import { Button } from "../ui/Button.tsx";
import { Confirm } from "../ui/Confirm.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Notice } from "../ui/Notice.tsx";
import { ago } from "../ui/time.ts";
import { useNow } from "../ui/useNow.ts";

type Props = { agent: Agent; box: Sandbox; onHistory: () => void };

/** What the user must know of this sandbox's work, with the choices there are. */
export function Banners({ agent, box, onHistory }: Props) {
  const restore = useRestore(agent.id);
  const now = useNow();
  const [aside] = box.side_snapshots;
  const told = box.restore?.outcome === "damaged-used-older" || box.restore?.outcome === "damaged-none";
  if (!box.detached && !aside && !told) return null;
  return (
    <div className="space-y-2 px-3 pt-3">
      {box.detached && (
        <Notice
          title="This sandbox runs without its saved work"
          actions={<Button onClick={onHistory}>See what is saved</Button>}
        >
          {box.detached_reason} What you do here is saved aside; nothing is overwritten until you say
          so.
        </Notice>
      )}
      {told && (
        <Notice
          title="The newest snapshot could not be used"
          actions={<Button onClick={onHistory}>See the history</Button>}
        >
          {box.restore?.message}
        </Notice>
      )}
      {aside && !box.detached && (
        <Notice
          title="There is work that was saved aside"
          actions={
            <Confirm
              label="Bring it back"
              title="Bring back the work that was saved aside?"
              explanation="What is there now is saved first, so that you can return to it."
              action="Bring it back"
              onConfirm={() => restore.mutate(aside.id)}
              disabled={restore.isPending}
            />
          }
        >
          Saved {ago(aside.created_at, now)}, {aside.receipt?.entries ?? 0} entries.
          <ErrorText error={restore.error} />
        </Notice>
      )}
    </div>
  );
}
