import * as Radix from "@radix-ui/react-dropdown-menu";
import type { ReactNode } from "react";
import { Dropdown } from "../ui/Dropdown.tsx";
import { Icon } from "../ui/Icon.tsx";

type MenuProps = {
  /** What a screen reader says of the button. */
  label: string;
  /** What is chosen now, as the button shows it. */
  shown: string;
  children: ReactNode;
};

/** A small button below the box where messages are written, and what can be chosen with it. */
export function ChoiceMenu({ label, shown, children }: MenuProps) {
  return (
    <Dropdown
      label={label}
      face={
        <>
          <span className="truncate">{shown}</span>
          <Icon name="down" className="size-3" />
        </>
      }
      look="inline-flex h-8 min-w-0 items-center gap-1 rounded-full px-2.5 text-xs text-muted hover:bg-sunken hover:text-ink focus-visible:rounded-full"
      align="start"
      side="top"
      size="max-h-[min(26rem,var(--radix-dropdown-menu-content-available-height))] max-w-80 min-w-60"
    >
      {children}
    </Dropdown>
  );
}

type ChoiceProps = { value: string; label: string; detail?: string; disabled?: boolean };

/** One of what can be chosen; `detail` says more of it, or what is missing for it. */
export function Choice({ value, label, detail, disabled = false }: ChoiceProps) {
  return (
    <Radix.RadioItem
      value={value}
      disabled={disabled}
      className="flex cursor-pointer items-start gap-2.5 rounded-xl px-3 py-1.5 outline-none data-disabled:cursor-default data-highlighted:bg-sunken"
    >
      <span className="grid size-4 h-5 shrink-0 place-items-center">
        <Radix.ItemIndicator>
          <Icon name="check" className="size-4 text-sea" />
        </Radix.ItemIndicator>
      </span>
      <span className="min-w-0">
        <span className={`block truncate ${disabled ? "text-muted" : ""}`}>{label}</span>
        {detail && <span className="block text-xs text-pretty break-words text-muted">{detail}</span>}
      </span>
    </Radix.RadioItem>
  );
}
