import { PageHeading } from "../components/PageHeading.tsx";

export function About() {
  return (
    <>
      <PageHeading title="About" lead="Who is behind this, and why it is worth somebody's time." />
      <div className="max-w-2xl space-y-5 pb-20 leading-relaxed">
        <p>
          Tell the story in two or three short paragraphs. What was missing before? What is different
          now? People remember one clear thought better than ten good ones.
        </p>
        <p>Then say what happens next, and how to be part of it.</p>
      </div>
    </>
  );
}
