import { Landscape } from "../components/Landscape.tsx";
import { PageHeading } from "../components/PageHeading.tsx";

export function About() {
  return (
    <>
      <PageHeading title="About" lead="Who is behind this, and why it is worth somebody's time." />
      <div className="grid gap-10 pb-24 lg:grid-cols-[1.2fr_1fr] lg:gap-16">
        <div className="max-w-prose space-y-5 text-lg leading-relaxed text-pretty">
          <p>
            Tell the story in two or three short paragraphs. What was missing before? What is
            different now? People remember one clear thought better than ten good ones.
          </p>
          <p>Then say what happens next, and how to be part of it.</p>
        </div>
        <Landscape className="aspect-[4/3] w-full rounded-[2rem]" />
      </div>
    </>
  );
}
