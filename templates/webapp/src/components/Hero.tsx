import { site } from "../content.ts";
import { ButtonLink } from "./ButtonLink.tsx";
import { Landscape } from "./Landscape.tsx";

export function Hero() {
  return (
    <section className="grid items-center gap-10 py-10 sm:py-16 lg:grid-cols-[1.1fr_1fr] lg:gap-16 lg:py-24">
      <div className="rise">
        <h1 className="text-[2.6rem] leading-[1.05] font-semibold sm:text-6xl xl:text-[4.2rem]">
          {site.headline}
        </h1>
        <p className="mt-6 max-w-xl text-lg leading-relaxed text-pretty text-muted sm:text-xl">
          {site.lead}
        </p>
        <div className="mt-9 flex flex-wrap gap-3">
          <ButtonLink to="/about">Look around</ButtonLink>
          <ButtonLink to="/contact" quiet>
            Get in touch
          </ButtonLink>
        </div>
      </div>
      <Landscape className="aspect-[4/3] w-full rounded-[2rem] lg:aspect-[8/7]" />
    </section>
  );
}
