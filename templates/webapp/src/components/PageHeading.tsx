import { site } from "../content.ts";

type Props = { title: string; lead: string };

/** The top of a page, and the title that its tab shows. */
export function PageHeading({ title, lead }: Props) {
  return (
    <div className="rise max-w-2xl pt-10 pb-10 sm:pt-16">
      <title>{`${title} · ${site.name}`}</title>
      <h1 className="text-4xl font-semibold sm:text-5xl">{title}</h1>
      <p className="mt-4 text-lg leading-relaxed text-pretty text-muted">{lead}</p>
    </div>
  );
}
