import { size } from "../ui/time.ts";
import { Cell, Head, Table } from "./Table.tsx";
import type { Bar, Part } from "./usage.ts";

const fills: Record<Part["tone"], string> = {
  logical: "fill-muted",
  stored: "fill-sea",
  condemned: "fill-bad",
  shared: "fill-pearl",
};
const WIDTH = 600;
const HEIGHT = 34;
const LEAST = 2;

/** Bars on one scale, and beside them the same numbers as a table. */
export function UsageChart({ bars }: { bars: Bar[] }) {
  const most = Math.max(1, ...bars.map(({ parts }) => parts.reduce((sum, { bytes }) => sum + bytes, 0)));
  return (
    <div className="grid items-start gap-6 lg:grid-cols-2">
      <div aria-hidden="true" className="space-y-5">
        {bars.map(({ label, explanation, parts }) => (
          <div key={label}>
            <p className="text-sm font-medium">{label}</p>
            <p className="mb-2 text-xs text-muted">{explanation}</p>
            <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} className="block w-full overflow-hidden rounded-lg" preserveAspectRatio="none">
              <rect width={WIDTH} height={HEIGHT} className="fill-sunken" />
              {placed(parts, most).map(({ part, x, width }) => (
                <rect key={part.label} x={x} width={width} height={HEIGHT} className={fills[part.tone]} />
              ))}
            </svg>
          </div>
        ))}
      </div>
      <Table label="Usage of the store">
        <thead>
          <tr>
            <Head>What</Head>
            <Head right>Size</Head>
          </tr>
        </thead>
        <tbody>
          {bars.flatMap(({ parts }) =>
            parts.map((part) => (
              <tr key={part.label}>
                <Cell heading>
                  <span className="flex items-center gap-2.5 font-medium">
                    <svg viewBox="0 0 10 10" className="size-3" aria-hidden="true">
                      <rect width="10" height="10" rx="2.5" className={fills[part.tone]} />
                    </svg>
                    {part.label}
                  </span>
                </Cell>
                <Cell right>{size(part.bytes)}</Cell>
              </tr>
            )),
          )}
        </tbody>
      </Table>
    </div>
  );
}

/** The parts side by side; what is there at all can be seen. */
function placed(parts: Part[], most: number) {
  let x = 0;
  return parts
    .filter(({ bytes }) => bytes > 0)
    .map((part) => {
      const width = Math.max(LEAST, (part.bytes / most) * WIDTH);
      const at = { part, x, width };
      x += width;
      return at;
    });
}
