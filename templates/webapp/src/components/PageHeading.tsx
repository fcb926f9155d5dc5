type Props = { title: string; lead: string };

export function PageHeading({ title, lead }: Props) {
  return (
    <div className="max-w-2xl pt-14 pb-10 sm:pt-20">
      <h1 className="text-3xl font-semibold tracking-tight sm:text-4xl">{title}</h1>
      <p className="mt-4 text-lg leading-relaxed text-muted">{lead}</p>
    </div>
  );
}
