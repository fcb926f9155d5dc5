import { type ReactNode, useState } from "react";
import { Button } from "./Button.tsx";
import { Dialog } from "./Dialog.tsx";

type Props = {
  label: ReactNode;
  title: string;
  explanation: string;
  action: string;
  onConfirm: () => void;
  look?: "plain" | "quiet" | "danger";
  disabled?: boolean;
};

/** A button that asks before it acts. */
export function Confirm({ label, title, explanation, action, onConfirm, look, disabled }: Props) {
  const [open, setOpen] = useState(false);
  const act = () => {
    setOpen(false);
    onConfirm();
  };
  return (
    <>
      <Button look={look} disabled={disabled} onClick={() => setOpen(true)}>
        {label}
      </Button>
      <Dialog open={open} onClose={() => setOpen(false)} title={title} explanation={explanation}>
        <div className="flex justify-end gap-2">
          <Button look="quiet" onClick={() => setOpen(false)}>
            Cancel
          </Button>
          <Button look={look === "danger" ? "danger" : "main"} onClick={act}>
            {action}
          </Button>
        </div>
      </Dialog>
    </>
  );
}
