import type { ButtonHTMLAttributes } from "react";

const looks = {
  main: "bg-sea text-on-sea hover:opacity-90",
  plain: "border border-line bg-raised hover:bg-sunken",
  quiet: "text-muted hover:bg-sunken hover:text-ink",
  danger: "border border-line bg-raised text-bad hover:bg-sunken",
};

type Props = ButtonHTMLAttributes<HTMLButtonElement> & { look?: keyof typeof looks };

export function Button({ look = "plain", className = "", ...rest }: Props) {
  return (
    <button
      type="button"
      className={`inline-flex h-9 items-center justify-center gap-2 rounded-lg px-3 font-medium whitespace-nowrap transition disabled:opacity-50 ${looks[look]} ${className}`}
      {...rest}
    />
  );
}
