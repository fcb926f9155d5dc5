/** The limpet on its rock. */
export function Mark({ className = "size-7" }: { className?: string }) {
  return (
    <svg viewBox="0 0 32 32" className={className} aria-hidden="true" fill="none">
      <path d="M3 25c3-9.5 7.400-17 13-17s10 7.500 13 17z" className="fill-sea" />
      <path
        d="M16 8v17M16 8c-3.500 3.500-6.200 10-7.300 17M16 8c3.500 3.500 6.200 10 7.300 17"
        className="stroke-raised"
        strokeWidth="1.700"
        strokeLinecap="round"
        opacity=".7"
      />
      <path d="M1.500 26.500h29" className="stroke-muted" strokeWidth="2.400" strokeLinecap="round" />
    </svg>
  );
}
