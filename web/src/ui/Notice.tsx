import type { ReactNode } from "react";

type Props = { title: string; children?: ReactNode; actions?: ReactNode };

/** Something to know, with what can be done about it. */
export function Notice({ title, children, actions }: Props) {
  return (
    <section
      aria-label={title}
      className="flex flex-wrap items-center gap-x-4 gap-y-2 rounded-xl bg-warn-wash px-4 py-3 text-warn"
    >
      <div className="min-w-0 flex-1 basis-64">
        <p className="font-medium">{title}</p>
        {children && <div className="mt-0.5 leading-relaxed opacity-90">{children}</div>}
      </div>
      {actions && <div className="flex flex-wrap gap-2">{actions}</div>}
    </section>
  );
}
