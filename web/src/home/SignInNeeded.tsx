import { Mark } from "../ui/Mark.tsx";

export function SignInNeeded() {
  return (
    <main className="grid h-full place-items-center p-8">
      <div className="max-w-sm text-center leading-relaxed">
        <Mark className="mx-auto size-12" />
        <h1 className="mt-5 text-xl font-semibold">Sign in</h1>
        <p className="mt-2 text-muted">
          Open the address that <code>limpet serve</code> printed, or run <code>limpet open</code> in
          a terminal on this machine.
        </p>
      </div>
    </main>
  );
}
