import type { ButtonHTMLAttributes } from "react";

const looks = {
  main: "bg-sea text-on-sea hover:opacity-90",
  plain: "border border-line bg-raised text-ink hover:bg-sunken",
  quiet: "text-muted hover:bg-sunken hover:text-ink",
  danger: "bg-bad text-raised hover:opacity-90",
};

export type Look = keyof typeof looks;

/** `small` stands in a line of text or in a bar, `icon` is round and holds nothing else. */
const sizes = {
  normal: "h-9 px-4",
  small: "h-8 px-3",
  icon: "size-9",
};

export type Size = keyof typeof sizes;

export const buttonLook = (look: Look, size: Size = "normal") =>
  `inline-flex ${sizes[size]} shrink-0 items-center justify-center gap-1.5 rounded-full text-sm font-medium whitespace-nowrap transition select-none disabled:opacity-50 focus-visible:rounded-full ${looks[look]}`;

type Props = ButtonHTMLAttributes<HTMLButtonElement> & { look?: Look; size?: Size };

export function Button({ look = "plain", size = "normal", className = "", ...rest }: Props) {
  return <button type="button" className={`${buttonLook(look, size)} ${className}`} {...rest} />;
}
