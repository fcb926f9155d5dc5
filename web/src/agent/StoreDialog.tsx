import { Button } from "../ui/Button.tsx";
import { Dialog } from "../ui/Dialog.tsx";
import type { SandboxView } from "./useSandbox.ts";

type Props = { view: SandboxView; open: boolean; onClose: () => void };

/** The saved work cannot be fetched now: wait for it, or go on without. */
export function StoreDialog({ view, open, onClose }: Props) {
  const { startError } = view;
  return (
    <Dialog
      open={open}
      onClose={onClose}
      title="The saved work cannot be reached just now"
      explanation={
        <>
          <p>
            It is safe where it is. Without it the sandbox starts from the beginning, and what you do
            there goes aside: nothing is overwritten, and both are offered to you when the store is
            back.
          </p>
          <p className="text-sm text-bad">{startError?.message}</p>
        </>
      }
    >
      <div className="flex flex-wrap-reverse justify-start gap-2 sm:flex-row-reverse">
        <Button
          look="main"
          onClick={() => {
            onClose();
            view.start(false);
          }}
        >
          Try again
        </Button>
        <Button
          onClick={() => {
            onClose();
            view.start(true);
          }}
        >
          Start without the snapshot
        </Button>
      </div>
    </Dialog>
  );
}
