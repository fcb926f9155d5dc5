type Props = { title: string; text: string };

export function FeatureCard({ title, text }: Props) {
  return (
    <article className="rounded-2xl border border-line bg-raised p-6">
      <h3 className="font-semibold">{title}</h3>
      <p className="mt-2 text-sm leading-relaxed text-muted">{text}</p>
    </article>
  );
}
