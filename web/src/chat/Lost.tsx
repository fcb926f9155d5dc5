import { Button } from "../ui/Button.tsx";

type Props = { gone: boolean; refused: number | null; onNew: () => void };

/** The conversation cannot be shown: why, and what to do. */
export function Lost({ gone, refused, onNew }: Props) {
  const missing = gone || refused === 404;
  return (
    <div className="grid min-h-0 flex-1 place-content-center justify-items-center gap-3 p-6 text-center">
      <h3 className="font-display text-lg font-semibold">
        {gone ? "This conversation was deleted" : missing ? "This conversation is not here" : "The server does not show it"}
      </h3>
      <p className="text-pretty text-muted">
        {missing
          ? "The files it made, their branch and its history are still there."
          : `It answered with ${refused}. Reload the page, or sign in again.`}
      </p>
      <Button onClick={onNew}>Begin a new one</Button>
    </div>
  );
}
