import * as Radix from "@radix-ui/react-dropdown-menu";
import type { ReactNode } from "react";
import { buttonLook } from "./Button.tsx";
import { Icon } from "./Icon.tsx";

type Props = {
  label: string;
  /** The menu is gone, and the focus is about to go back to its button. */
  onClosed?: (event: Event) => void;
  children: ReactNode;
};

/** What is needed seldom, behind three dots. */
export function Menu({ label, onClosed, children }: Props) {
  return (
    <Radix.Root>
      <Radix.Trigger aria-label={label} className={buttonLook("quiet", "icon")}>
        <Icon name="more" />
      </Radix.Trigger>
      <Radix.Portal>
        <Radix.Content
          align="end"
          sideOffset={6}
          onCloseAutoFocus={onClosed}
          className="z-30 min-w-52 rounded-2xl border border-line bg-raised p-1.5 text-sm shadow-xl"
        >
          {children}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}

type ItemProps = { onSelect: () => void; dangerous?: boolean; disabled?: boolean; children: ReactNode };

export function MenuItem({ onSelect, dangerous, disabled, children }: ItemProps) {
  return (
    <Radix.Item
      disabled={disabled}
      onSelect={onSelect}
      className={`flex cursor-pointer items-center gap-2.5 rounded-xl px-3 py-2 outline-none data-disabled:cursor-default data-disabled:opacity-50 data-highlighted:bg-sunken ${
        dangerous ? "text-bad" : ""
      }`}
    >
      {children}
    </Radix.Item>
  );
}
