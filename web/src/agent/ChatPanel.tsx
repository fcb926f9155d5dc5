/** Where the conversation will be; it says plainly what it needs. */
export function ChatPanel() {
  return (
    <div className="grid h-full place-items-center p-8">
      <div className="max-w-64 text-center leading-relaxed text-muted">
        <p className="font-medium text-ink">Chat comes with a model key</p>
        <p className="mt-2">
          Until then, work on the files in your editor or with <code>limpet exec</code>: the preview
          follows every change.
        </p>
      </div>
    </div>
  );
}
