const RINGS = [
  { cx: 300, cy: 300, rx: 290, ry: 280 },
  { cx: 296, cy: 292, rx: 246, ry: 236 },
  { cx: 290, cy: 283, rx: 204, ry: 194 },
  { cx: 284, cy: 274, rx: 163, ry: 154 },
  { cx: 277, cy: 265, rx: 124, ry: 116 },
  { cx: 270, cy: 256, rx: 87, ry: 80 },
  { cx: 263, cy: 248, rx: 52, ry: 47 },
];

/** The growth lines of a shell, far larger than life. */
export function Rings({ className = "" }: { className?: string }) {
  return (
    <svg viewBox="0 0 600 600" className={className} aria-hidden="true" fill="none">
      {RINGS.map((ring, index) => (
        <ellipse
          key={ring.rx}
          {...ring}
          className={index === 0 ? "stroke-shell" : "stroke-sea"}
          strokeWidth={index === 0 ? 3 : 1.5}
          strokeDasharray={index === 0 ? "1400 600" : undefined}
          strokeLinecap="round"
          opacity={0.2 + index * 0.06}
        />
      ))}
      <circle cx="258" cy="242" r="16" className="fill-pearl" />
    </svg>
  );
}
