import type { ReactNode } from "react";
import { Link } from "react-router";
import { Icon } from "./Icon.tsx";

type Props = { to: string; quiet?: boolean; children: ReactNode };

/** A link that looks like a button; `quiet` for the second choice beside it. */
export function ButtonLink({ to, quiet = false, children }: Props) {
  const look = quiet
    ? "border border-line text-ink hover:bg-raised"
    : "bg-accent text-on-accent hover:opacity-90";
  return (
    <Link
      to={to}
      className={`group inline-flex items-center gap-2 rounded-full px-6 py-3 font-medium transition ${look}`}
    >
      {children}
      {!quiet && (
        <Icon name="arrow" className="size-4.5 transition-transform group-hover:translate-x-0.5" />
      )}
    </Link>
  );
}
