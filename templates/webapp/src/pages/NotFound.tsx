import { ButtonLink } from "../components/ButtonLink.tsx";
import { PageHeading } from "../components/PageHeading.tsx";

export function NotFound() {
  return (
    <div className="pb-24">
      <PageHeading title="There is nothing here" lead="The address is mistyped, or the page has moved." />
      <ButtonLink to="/">Back to the start</ButtonLink>
    </div>
  );
}
