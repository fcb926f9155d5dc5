const paths = {
  spark: "M12 3v4m0 10v4M3 12h4m10 0h4M6 6l2.5 2.5m7 7L18 18M18 6l-2.5 2.5m-7 7L6 18",
  blocks: "M4 4h7v7H4zM14 4h6v6h-6zM4 14h6v6H4zM13 13h7v7h-7z",
  leaf: "M5 19c0-9 5-14 14-14 0 9-5 14-12 14M5 19c2-5 5-8 9-9.5",
  arrow: "M5 12h14m-6-6 6 6-6 6",
};

export type IconName = keyof typeof paths;

/** A line drawing of 24 by 24; decoration, so screen readers pass over it. */
export function Icon({ name, className = "size-6" }: { name: IconName; className?: string }) {
  return (
    <svg
      viewBox="0 0 24 24"
      className={className}
      fill="none"
      stroke="currentColor"
      strokeWidth="1.6"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
    >
      <path d={paths[name]} />
    </svg>
  );
}
