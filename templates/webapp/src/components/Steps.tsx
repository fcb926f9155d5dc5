type Props = { steps: { title: string; text: string }[] };

/** What happens one after the other. */
export function Steps({ steps }: Props) {
  return (
    <ol className="grid gap-x-10 gap-y-8 sm:grid-cols-3">
      {steps.map(({ title, text }, index) => (
        <li key={title} className="border-t-2 border-accent pt-5">
          <span aria-hidden="true" className="font-display text-sm text-muted">
            {index + 1}
          </span>
          <h3 className="mt-1 text-lg font-semibold">{title}</h3>
          <p className="mt-2 leading-relaxed text-pretty text-muted">{text}</p>
        </li>
      ))}
    </ol>
  );
}
