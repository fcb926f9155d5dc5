import { type ComponentType, lazy } from "react";
import { Button } from "./Button.tsx";

/** The server went away, or has another version by now. */
function NotLoaded() {
  return (
    <div className="grid h-full place-content-center justify-items-center gap-3 p-6 text-center">
      <p className="text-muted">This part could not be loaded from the server.</p>
      <Button onClick={() => location.reload()}>Reload the page</Button>
    </div>
  );
}

/** A component whose code comes when it is first shown, and says so when it does not come. */
export const later = <Props extends object>(load: () => Promise<ComponentType<Props>>) =>
  lazy(() =>
    load().then(
      (loaded) => ({ default: loaded }),
      () => ({ default: NotLoaded as ComponentType<Props> }),
    ),
  );
