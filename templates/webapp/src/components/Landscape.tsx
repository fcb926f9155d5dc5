/** A quiet morning in the colours of the theme. Replace it with a picture of your own. */
export function Landscape({ className = "" }: { className?: string }) {
  return (
    <svg
      viewBox="0 0 480 420"
      className={className}
      aria-hidden="true"
      preserveAspectRatio="xMidYMid slice"
    >
      <rect width="480" height="420" className="fill-hill" opacity="0.1" />
      <circle cx="318" cy="168" r="118" className="fill-sun" opacity="0.14" />
      <circle cx="318" cy="168" r="84" className="fill-sun" opacity="0.22" />
      <circle cx="318" cy="168" r="54" className="fill-sun" />
      <path
        d="M-30 268c70-58 128-66 196-24s118 34 182-12 118-40 172-8v220H-30z"
        className="fill-hill"
        opacity="0.22"
      />
      <path
        d="M-30 312c62-40 134-44 202-8s132 22 190-10 104-30 152-6v160H-30z"
        className="drift fill-hill"
        opacity="0.42"
      />
      <path
        d="M-30 362c74-28 140-24 210 2s140 16 200-10 94-22 134-8v100H-30z"
        className="fill-hill"
      />
    </svg>
  );
}
