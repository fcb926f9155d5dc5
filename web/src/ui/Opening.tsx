/** What a page is while it waits for what it shows; a page, too, for who hears it read. */
export function Opening() {
  return (
    <main className="grid h-full place-items-center">
      <h1 className="text-muted">Opening…</h1>
    </main>
  );
}
