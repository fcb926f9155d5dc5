import { Button } from "../ui/Button.tsx";

type Props = { gone: boolean; onCompare: () => void; onTheirs: () => void; onMine: () => void };

/** The file on disk is another one by now, and this one was edited: nothing is written unasked. */
export function Changed({ gone, onCompare, onTheirs, onMine }: Props) {
  return (
    <section
      role="alert"
      aria-label="The file changed on disk"
      className="flex flex-wrap items-center gap-x-4 gap-y-2 bg-shell-wash px-4 py-2 text-sm"
    >
      <p className="min-w-0 flex-1 basis-56 text-pretty">
        <strong className="font-semibold text-shell">
          {gone ? "It was deleted meanwhile." : "It changed on disk meanwhile."}
        </strong>{" "}
        {gone ? "Your text is only here." : "Your changes are not saved; nothing was overwritten."}
      </p>
      <div className="flex flex-wrap gap-1.5">
        {!gone && (
          <Button size="small" onClick={onCompare}>
            Compare
          </Button>
        )}
        <Button size="small" onClick={onTheirs}>
          {gone ? "Close it" : "Take the one on disk"}
        </Button>
        <Button size="small" onClick={onMine}>
          {gone ? "Save it anew" : "Keep mine"}
        </Button>
      </div>
    </section>
  );
}
