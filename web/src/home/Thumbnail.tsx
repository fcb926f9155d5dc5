import { useState } from "react";
import { ORG } from "../api/queries.ts";
import type { Agent } from "../api/types.ts";

const COLOURS = ["stroke-sea", "stroke-shell", "stroke-good", "stroke-pearl"];

/** A number that is the same for the same text. */
function numberOf(text: string): number {
  let number = 0;
  for (const letter of text) number = (number * 31 + letter.charCodeAt(0)) >>> 0;
  return number;
}

/** A picture of the agent's preview as it was last saved; until there is one, the shell's lines. */
export function Thumbnail({ agent }: { agent: Agent }) {
  const [lost, setLost] = useState<string | null>(null);
  const at = agent.thumbnail_at;
  if (at === null || at === lost) return <Lines agent={agent} />;
  return (
    <img
      src={`/api/${ORG}/agents/${agent.id}/thumbnail?at=${encodeURIComponent(at)}`}
      alt={`The preview of ${agent.title}`}
      loading="lazy"
      decoding="async"
      onError={() => setLost(at)}
      className="block size-full bg-sunken object-cover object-top"
    />
  );
}

/** A shell's growth lines in place of a picture of the preview: the same ones for the same agent. */
function Lines({ agent }: { agent: Agent }) {
  const number = numberOf(agent.id);
  const colour = COLOURS[number % COLOURS.length];
  const [x, y] = [30 + (number % 100), 20 + ((number >> 7) % 60)];
  const lines = 5 + ((number >> 13) % 4);
  return (
    <svg viewBox="0 0 160 90" preserveAspectRatio="xMidYMid slice" className="block size-full bg-sunken" aria-hidden="true" fill="none">
      {Array.from({ length: lines }, (_, index) => (
        <ellipse
          key={index}
          cx={x + index * 2.5}
          cy={y + index * 2}
          rx={12 + index * 15}
          ry={11 + index * 13.5}
          className={colour}
          strokeWidth="1.2"
          opacity={0.75 - index * 0.08}
        />
      ))}
      <circle cx={x - 1} cy={y - 1} r="4" className="fill-pearl" />
    </svg>
  );
}
