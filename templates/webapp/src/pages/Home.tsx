import { FeatureCard } from "../components/FeatureCard.tsx";
import { Hero } from "../components/Hero.tsx";
import { Steps } from "../components/Steps.tsx";
import { features, site, steps } from "../content.ts";

export function Home() {
  return (
    <>
      <title>{site.name}</title>
      <Hero />
      <section aria-label="What is here" className="grid gap-4 pb-20 md:grid-cols-3">
        {features.map((feature) => (
          <FeatureCard key={feature.title} {...feature} />
        ))}
      </section>
      <section aria-labelledby="how" className="pb-24">
        <h2 id="how" className="mb-8 text-2xl font-semibold sm:text-3xl">
          From here to yours
        </h2>
        <Steps steps={steps} />
      </section>
    </>
  );
}
