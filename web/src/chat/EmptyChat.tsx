import { Button } from "../ui/Button.tsx";
import { Icon } from "../ui/Icon.tsx";

const EXAMPLES = [
  "Make the hero section dark and give it a headline about tide pools",
  "Add a pricing page with three plans, and link it in the header",
  "The menu covers the page on a phone: find out why and mend it",
];

type Props = { noModel: boolean; onExample: (text: string) => void; onModels: () => void };

/** Before the first message: what can be said here, or what is still needed for it. */
export function EmptyChat({ noModel, onExample, onModels }: Props) {
  return (
    <div className="flex min-h-0 flex-1 flex-col justify-center overflow-auto p-5">
      <div className="mx-auto w-full max-w-sm">
        {noModel ? (
          <>
            <Icon name="key" className="size-7 text-sea" />
            <h3 className="mt-3 font-display text-lg font-semibold">First, a model</h3>
            <p className="mt-1.5 leading-relaxed text-pretty text-muted">
              The agent thinks with a model of yours: a key of Anthropic, OpenAI, Google or Amazon, or a
              server of your own such as Ollama. The preview works without.
            </p>
            <Button look="main" className="mt-5" onClick={onModels}>
              Add a model key
            </Button>
          </>
        ) : (
          <>
            <Icon name="chat" className="size-7 text-sea" />
            <h3 className="mt-3 font-display text-lg font-semibold">Say what you want to see</h3>
            <p className="mt-1.5 leading-relaxed text-pretty text-muted">
              In your own words. The preview changes as it works, every turn can be undone, and you can
              close this tab meanwhile.
            </p>
            <ul aria-label="Examples" className="mt-5 space-y-2">
              {EXAMPLES.map((example) => (
                <li key={example}>
                  <button
                    type="button"
                    onClick={() => onExample(example)}
                    className="w-full rounded-xl border border-line bg-raised px-3.5 py-2.5 text-left text-sm leading-relaxed text-pretty hover:border-sea"
                  >
                    {example}
                  </button>
                </li>
              ))}
            </ul>
          </>
        )}
      </div>
    </div>
  );
}
