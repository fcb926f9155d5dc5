import { CopyText } from "../ui/CopyText.tsx";
import { Mark } from "../ui/Mark.tsx";

export function SignInNeeded() {
  return (
    <main className="grid min-h-full place-items-center p-8">
      <div className="w-full max-w-sm text-center leading-relaxed">
        <title>Sign in to Limpet</title>
        <Mark className="mx-auto size-16" />
        <h1 className="mt-6 font-display text-3xl font-semibold">Sign in</h1>
        <p className="mt-2 text-pretty text-muted">
          Open the address that <code>limpet serve</code> printed when it started. Or let a terminal
          on this machine open a new one:
        </p>
        <div className="mx-auto mt-5 max-w-52">
          <CopyText text="limpet open" />
        </div>
      </div>
    </main>
  );
}
