import type { ReactNode } from "react";
import { Link } from "react-router";

type Props = { to: string; quiet?: boolean; children: ReactNode };

/** A link that looks like a button; `quiet` for the second choice beside it. */
export function ButtonLink({ to, quiet = false, children }: Props) {
  const look = quiet
    ? "border border-line text-ink hover:bg-raised"
    : "bg-accent text-on-accent hover:opacity-90";
  return (
    <Link
      to={to}
      className={`inline-flex items-center rounded-xl px-5 py-2.5 text-sm font-medium transition ${look}`}
    >
      {children}
    </Link>
  );
}
