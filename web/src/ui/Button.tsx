import type { ButtonHTMLAttributes } from "react";

const looks = {
  main: "bg-sea text-on-sea hover:opacity-90",
  plain: "border border-line bg-raised text-ink hover:bg-sunken",
  quiet: "text-muted hover:bg-sunken hover:text-ink",
  danger: "bg-bad text-raised hover:opacity-90",
};

export type Look = keyof typeof looks;

export const buttonLook = (look: Look) =>
  `inline-flex h-9 items-center justify-center gap-1.5 rounded-full px-4 text-sm font-medium whitespace-nowrap transition select-none disabled:opacity-50 focus-visible:rounded-full ${looks[look]}`;

type Props = ButtonHTMLAttributes<HTMLButtonElement> & { look?: Look };

export function Button({ look = "plain", className = "", ...rest }: Props) {
  return <button type="button" className={`${buttonLook(look)} ${className}`} {...rest} />;
}
