import * as Radix from "@radix-ui/react-dropdown-menu";
import type { ReactNode } from "react";
import { buttonLook } from "./Button.tsx";
import { Dropdown } from "./Dropdown.tsx";
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
    <Dropdown
      label={label}
      face={<Icon name="more" />}
      look={buttonLook("quiet", "icon")}
      align="end"
      onClosed={onClosed}
    >
      {children}
    </Dropdown>
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
