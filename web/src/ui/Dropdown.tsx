import * as Radix from "@radix-ui/react-dropdown-menu";
import { type ReactNode, useCallback, useEffect, useState } from "react";

type Props = {
  /** What a screen reader says of the button, where that is not what it shows. */
  label: string;
  /** What the button shows. */
  face: ReactNode;
  /** How the button looks. */
  look: string;
  disabled?: boolean;
  align?: "start" | "end";
  side?: "top" | "bottom";
  /** How wide and how high the menu may be. */
  size?: string;
  /** The menu is gone, and the focus is about to go back to its button. */
  onClosed?: (event: Event) => void;
  children: ReactNode;
};

const LANDMARKS = "main, aside, nav, header, footer, section[aria-label], section[aria-labelledby]";

/**
 * A button and the menu that it opens, which stands in the same part of the page. Nothing else is
 * hidden meanwhile from those who hear the page.
 */
export function Dropdown({ label, face, look, disabled, align, side, size = "min-w-52", onClosed, children }: Props) {
  const [open, setOpen] = useState(false);
  const [part, setPart] = useState<HTMLElement | null>(null);
  const attach = useCallback(
    (button: HTMLElement | null) => setPart(button?.closest<HTMLElement>(LANDMARKS) ?? null),
    [],
  );
  // Who clicks into a frame, such as the preview, leaves this page without a word.
  useEffect(() => {
    if (!open) return;
    const close = () => setOpen(false);
    window.addEventListener("blur", close);
    return () => window.removeEventListener("blur", close);
  }, [open]);

  function closed(event: Event) {
    onClosed?.(event);
    if (document.activeElement instanceof HTMLIFrameElement) event.preventDefault();
  }

  return (
    <Radix.Root modal={false} open={open} onOpenChange={setOpen}>
      <Radix.Trigger ref={attach} aria-label={label} disabled={disabled} className={look}>
        {face}
      </Radix.Trigger>
      <Radix.Portal container={part}>
        <Radix.Content
          align={align}
          side={side}
          sideOffset={6}
          collisionPadding={8}
          onCloseAutoFocus={closed}
          className={`z-30 overflow-auto rounded-2xl border border-line bg-raised p-1.5 text-sm font-normal text-ink shadow-xl ${size}`}
        >
          {children}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}
