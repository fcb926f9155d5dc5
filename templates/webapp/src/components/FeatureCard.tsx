import { Icon, type IconName } from "./Icon.tsx";

type Props = { icon: IconName; title: string; text: string };

export function FeatureCard({ icon, title, text }: Props) {
  return (
    <article className="rounded-3xl border border-line bg-raised p-7">
      <Icon name={icon} className="size-7 text-accent" />
      <h3 className="mt-5 text-lg font-semibold">{title}</h3>
      <p className="mt-2 leading-relaxed text-pretty text-muted">{text}</p>
    </article>
  );
}
