import { Button } from "../ui/Button.tsx";
import { CopyText } from "../ui/CopyText.tsx";
import { Dialog } from "../ui/Dialog.tsx";
import { isOfThisMachine } from "./addresses.ts";

type Props = { address: string; onClose: () => void };

/** The preview's address, who can see it, and for how long. */
export function ShareDialog({ address, onClose }: Props) {
  return (
    <Dialog
      open
      onClose={onClose}
      title="Share the preview"
      explanation={
        <>
          <p>
            Whoever has this address sees the preview, without signing in, for as long as the sandbox
            runs. It cannot be guessed, and it shows nothing but the app itself.
          </p>
          {isOfThisMachine(address) && (
            <p>
              It leads to this machine only. Where previews have a domain (<code>LIMPET_PREVIEW_URL</code>), it works for others too.
            </p>
          )}
        </>
      }
    >
      <CopyText text={address} />
      <div className="mt-5 flex justify-end">
        <Button look="quiet" onClick={onClose}>
          Close
        </Button>
      </div>
    </Dialog>
  );
}
