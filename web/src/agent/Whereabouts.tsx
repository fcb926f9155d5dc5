import type { Whereabouts as Where } from "./saveState.ts";

const shell: Record<Where, string> = {
  none: "fill-none stroke-muted",
  home: "fill-sea",
  roaming: "fill-shell",
  saving: "fill-sea roam",
  aside: "fill-shell",
  failed: "fill-bad",
};
const scar: Record<Where, string> = {
  none: "stroke-line",
  home: "stroke-sea",
  roaming: "stroke-muted",
  saving: "stroke-sea",
  aside: "stroke-muted",
  failed: "stroke-bad",
};

/** The limpet and its scar: in it when all is saved, out of it while there is unsaved work. */
export function Whereabouts({ where }: { where: Where }) {
  const away = where === "roaming" || where === "aside" || where === "failed";
  return (
    <svg viewBox="0 0 20 20" className="size-5 shrink-0" aria-hidden="true" fill="none">
      <ellipse
        cx="9.5"
        cy="10.8"
        rx="6.8"
        ry="6.4"
        className={scar[where]}
        strokeWidth="1.5"
        strokeDasharray={where === "home" || where === "saving" ? undefined : "3 2.4"}
      />
      <circle
        cx={away ? 14.6 : 9.5}
        cy={away ? 5.6 : 10.8}
        r="3.5"
        className={`${shell[where]} transition-all duration-500`}
      />
    </svg>
  );
}
