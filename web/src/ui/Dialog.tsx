import * as Radix from "@radix-ui/react-dialog";
import type { ReactNode } from "react";

type Props = {
  open: boolean;
  onClose: () => void;
  title: string;
  explanation: ReactNode;
  children: ReactNode;
};

/** A modal dialog: the focus stays in it, Escape closes it. On a phone it rises from below. */
export function Dialog({ open, onClose, title, explanation, children }: Props) {
  return (
    <Radix.Root open={open} onOpenChange={(shown) => !shown && onClose()}>
      <Radix.Portal>
        <Radix.Overlay className="fixed inset-0 z-40 bg-[#081112]/55" />
        <Radix.Content className="fixed inset-x-0 bottom-0 z-50 max-h-[92dvh] overflow-auto rounded-t-3xl border border-line bg-raised p-6 shadow-2xl sm:inset-x-auto sm:top-1/2 sm:bottom-auto sm:left-1/2 sm:w-[min(30rem,calc(100vw-2rem))] sm:-translate-x-1/2 sm:-translate-y-1/2 sm:rounded-3xl sm:p-7">
          <Radix.Title className="font-display text-xl leading-snug font-semibold text-balance">
            {title}
          </Radix.Title>
          <Radix.Description asChild>
            <div className="mt-2 space-y-2 leading-relaxed text-pretty break-words text-muted">{explanation}</div>
          </Radix.Description>
          <div className="mt-6">{children}</div>
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}
