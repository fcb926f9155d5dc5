import { ButtonLink } from "../components/ButtonLink.tsx";
import { FeatureCard } from "../components/FeatureCard.tsx";
import { site } from "../content.ts";

export function Home() {
  return (
    <>
      <section className="max-w-3xl py-16 sm:py-28">
        <h1 className="text-4xl leading-tight font-semibold tracking-tight text-balance sm:text-6xl">
          {site.headline}
        </h1>
        <p className="mt-6 max-w-xl text-lg leading-relaxed text-muted sm:text-xl">{site.lead}</p>
        <div className="mt-9 flex flex-wrap gap-3">
          <ButtonLink to="/about">Look around</ButtonLink>
          <ButtonLink to="/contact" quiet>
            Get in touch
          </ButtonLink>
        </div>
      </section>
      <section aria-label="What is here" className="grid gap-4 pb-20 sm:grid-cols-3">
        {site.features.map((feature) => (
          <FeatureCard key={feature.title} {...feature} />
        ))}
      </section>
    </>
  );
}
