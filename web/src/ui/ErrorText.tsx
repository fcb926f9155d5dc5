import { ApiError } from "../api/client.ts";

/** An error in the words of whoever knows best; nothing when there is none. */
export function ErrorText({ error }: { error: Error | null }) {
  if (!error) return null;
  return (
    <p role="alert" className="leading-relaxed text-pretty break-words text-bad">
      {error.message}
      {error instanceof ApiError && error.hint && (
        <span className="block text-muted">{error.hint}</span>
      )}
    </p>
  );
}
