const SHELL =
  "M19.9 6.5Q24.2 7.1 25.4 11.1Q28.3 14.2 26.6 18Q26.6 22.1 22.7 24Q20 27.2 15.8 26.2Q11.5 27 8.9 23.7Q5.1 21.7 5.4 17.6Q3.8 13.7 6.8 10.7Q8.2 6.8 12.5 6.3Q16.3 4.2 19.9 6.5z";

/** A limpet from above, back in its home scar. */
export function Mark({ className = "size-8" }: { className?: string }) {
  return (
    <svg viewBox="0 0 32 32" className={className} aria-hidden="true" fill="none">
      <ellipse
        cx="16"
        cy="16"
        rx="14.6"
        ry="14.2"
        className="stroke-shell"
        strokeWidth="1.6"
        strokeLinecap="round"
        strokeDasharray="70 100"
        strokeDashoffset="-6"
      />
      <path d={SHELL} className="fill-sea" />
      <g className="stroke-shore" strokeWidth="1.2">
        <ellipse cx="15.3" cy="15.1" rx="7.3" ry="6.8" opacity=".55" />
        <ellipse cx="14.6" cy="14.2" rx="4.4" ry="4" opacity=".75" />
      </g>
      <circle cx="14.1" cy="13.5" r="1.6" className="fill-pearl" />
    </svg>
  );
}
