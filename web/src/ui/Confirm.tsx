import { type ReactNode, useState } from "react";
import { Button, type Look, type Size } from "./Button.tsx";
import { Dialog } from "./Dialog.tsx";

type Question = {
  title: string;
  explanation: ReactNode;
  action: string;
  dangerous?: boolean;
  onConfirm: () => void;
};

type Props = Question & { label: ReactNode; look?: Look; size?: Size; disabled?: boolean };

/** A button that asks before it acts. */
export function Confirm({ label, look, size, disabled, ...question }: Props) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <Button look={look} size={size} disabled={disabled} onClick={() => setOpen(true)}>
        {label}
      </Button>
      <Asking {...question} open={open} onClose={() => setOpen(false)} />
    </>
  );
}

type AskingProps = Question & { open: boolean; onClose: () => void };

/** The question alone, for whatever opens it. */
export function Asking({ open, onClose, dangerous, action, onConfirm, ...words }: AskingProps) {
  return (
    <Dialog open={open} onClose={onClose} {...words}>
      <div className="flex flex-wrap justify-end gap-2">
        <Button look="quiet" onClick={onClose}>
          Cancel
        </Button>
        <Button
          look={dangerous ? "danger" : "main"}
          onClick={() => {
            onClose();
            onConfirm();
          }}
        >
          {action}
        </Button>
      </div>
    </Dialog>
  );
}
