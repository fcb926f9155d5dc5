import type { ReactNode } from "react";

const tones = {
  calm: "bg-sea-wash text-sea",
  warn: "bg-shell-wash text-shell",
  bad: "bg-bad-wash text-bad",
};

type Props = { title: string; tone?: keyof typeof tones; children?: ReactNode; actions?: ReactNode };

/** Something to know, with what can be done about it. */
export function Notice({ title, tone = "warn", children, actions }: Props) {
  return (
    <section
      aria-label={title}
      className={`flex flex-wrap items-center gap-x-5 gap-y-3 rounded-2xl px-5 py-3.5 ${tones[tone]}`}
    >
      <div className="min-w-0 flex-1 basis-72">
        <p className="font-semibold">{title}</p>
        {children && <div className="mt-0.5 text-sm leading-relaxed text-pretty text-ink">{children}</div>}
      </div>
      {actions && <div className="flex flex-wrap gap-2">{actions}</div>}
    </section>
  );
}
