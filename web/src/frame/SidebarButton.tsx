import { Button } from "../ui/Button.tsx";
import { Icon } from "../ui/Icon.tsx";
import { useFrame } from "./frameContext.ts";

/** Opens the sidebar over the page, where it does not stand beside it. */
export function SidebarButton() {
  const { beside, openSidebar } = useFrame();
  if (beside) return null;
  return (
    <Button look="quiet" size="icon" aria-label="Menu" title="Menu" onClick={openSidebar}>
      <Icon name="menu" />
    </Button>
  );
}
