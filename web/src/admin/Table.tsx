import type { ReactNode } from "react";

/** A table that scrolls by itself where it is wider than the page. */
export function Table({ label, children }: { label: string; children: ReactNode }) {
  return (
    <section
      aria-label={`${label}: table`}
      // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a scrolled region is reached by keyboard
      tabIndex={0}
      className="overflow-x-auto rounded-2xl border border-line bg-raised"
    >
      <table aria-label={label} className="w-full text-sm">
        {children}
      </table>
    </section>
  );
}

type CellProps = { right?: boolean; heading?: boolean; children?: ReactNode };
const side = (right: boolean | undefined) => (right ? "text-right tabular-nums" : "text-left");

export function Head({ right, children }: CellProps) {
  return (
    <th scope="col" className={`px-4 py-2.5 text-xs font-medium whitespace-nowrap text-muted ${side(right)}`}>
      {children}
    </th>
  );
}

/** A cell; the one that names its row is a heading. */
export function Cell({ right, heading, children }: CellProps) {
  const look = `max-w-64 border-t border-line px-4 py-2 align-middle ${side(right)}`;
  return heading ? (
    <th scope="row" className={look}>
      {children}
    </th>
  ) : (
    <td className={look}>{children}</td>
  );
}
