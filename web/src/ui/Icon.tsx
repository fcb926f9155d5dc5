const paths = {
  sun: "M12 8.2a3.8 3.8 0 1 0 0 7.6 3.8 3.8 0 0 0 0-7.6zM12 2.8v1.7m0 15v1.7M2.8 12h1.7m15 0h1.7M5.5 5.5l1.2 1.2m10.6 10.6 1.2 1.2m0-13-1.2 1.2M6.7 17.3l-1.2 1.2",
  moon: "M19.5 14.3A8 8 0 0 1 9.7 4.5a8 8 0 1 0 9.8 9.8z",
  reload: "M19 12a7 7 0 1 1-2.1-5M17.5 3v4.2h-4.2",
  open: "M9 5H5.5v13.5H19V15M13 5h6v6m0-6-8.5 8.5",
  desktop: "M3.5 5h17v11h-17zM9 20h6m-3-4v4",
  tablet: "M6 3.5h12v17H6zM11 17.7h2",
  phone: "M8 3.5h8v17H8zM11.2 17.7h1.6",
  logs: "M4 6h16M4 10.5h10M4 15h13M4 19.5h7",
  more: "M6 12h.01M12 12h.01M18 12h.01",
  window: "M3.5 5.5h17v13h-17zM3.5 9.5h17M6.3 7.5h.01M8.8 7.5h.01",
  branch: "M7 8v8m0-8a2.2 2.2 0 1 0 0-4.4A2.2 2.2 0 0 0 7 8zm0 8a2.2 2.2 0 1 0 0 4.4A2.2 2.2 0 0 0 7 16zm10-6a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.4zm0 0c0 3.6-4.5 3.2-7.6 4.6",
  chat: "M4 5.5h16v11H11l-4.5 3.5v-3.5H4z",
  close: "M6 6l12 12M18 6 6 18",
  check: "M5 12.5l4.5 4.5L19 7.5",
  cross: "M7 7l10 10M17 7 7 17",
  down: "M6.5 9.5 12 15l5.5-5.5",
  copy: "M9 9h10.5v10.5H9zM15 9V4.5H4.5V15H9",
  download: "M12 4v11m-4.5-4.5L12 15l4.5-4.5M5 19.5h14",
  play: "M8 5.5v13l10.5-6.5z",
  stop: "M7 7h10v10H7z",
  warn: "M12 4 3 19.5h18zM12 10v4.5m0 2.5h.01",
  tag: "M4.5 4.5h7l8 8-7 7-8-8zM8.3 8.3h.01",
  key: "M15.5 4a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM12 11.5l-8 8m2.5-2.5 2 2m.5-4.5 1.5 1.5",
  edit: "M5 19l.8-3.8L15.9 5.1a1.8 1.8 0 0 1 2.6 0l.4.4a1.8 1.8 0 0 1 0 2.6L8.8 18.2zM14 7l3 3",
  terminal: "M4 5h16v14H4zM7.5 9.5 10 12l-2.5 2.5M12.5 15h4",
  code: "M8.5 7 4 12l4.5 5M15.5 7 20 12l-4.5 5",
  diff: "M12 4.5v8m-4-4h8M8 18.5h8",
  file: "M6.5 3.5h7l4 4v13h-11zM13.5 3.5v4h4",
  upload: "M12 15V4m-4.5 4.5L12 4l4.5 4.5M5 19.5h14",
  save: "M4.5 4.5h12l3 3v12h-15zM8 4.5v5h7v-5M8 19.5v-6h8v6",
  keyboard: "M3 6.5h18v11H3zM6.5 10h.01M10 10h.01M13.5 10h.01M17 10h.01M8 14h8",
  undo: "M8.5 5 4.5 9l4 4M5 9h9a5 5 0 0 1 0 10h-4",
  send: "M12 19V5.5M6 11.5 12 5.5l6 6",
  plus: "M12 5.5v13M5.5 12h13",
  list: "M8.5 6.5H20M8.5 12H20M8.5 17.5H20M4.5 6.5h.01M4.5 12h.01M4.5 17.5h.01",
  spark: "M12 4v16M4 12h16M6.5 6.5l11 11M17.5 6.5l-11 11",
  home: "M4.5 11 12 4.5 19.5 11M6.5 9.5v10h11v-10M10 19.5v-5h4v5",
  menu: "M4 7h16M4 12h16M4 17h16",
  panel: "M3.5 5h17v14h-17zM9.5 5v14",
  gauge: "M4.5 17.5a8 8 0 1 1 15 0M12 14.5l3.5-5",
  gear: "M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM12 3.5v2.4m0 12.2v2.4M3.5 12h2.4m12.2 0h2.4M6 6l1.7 1.7m8.6 8.6L18 18M18 6l-1.7 1.7m-8.6 8.6L6 18",
  pin: "M9 4.5h6l-.8 5.5 3.3 3.5h-11L9.8 10zM12 13.5v6",
  clock: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 8v4.5l3 2",
  blank: "M5 5h14v14H5z",
  back: "M14.5 6 8.5 12l6 6",
  folder: "M3.5 6.5h6l2 2.5h9v10h-17z",
  compare: "M8 4.5v15m-3.5-4L8 19.5l3.5-4M16 19.5v-15m-3.5 4L16 4.5l3.5 4",
  share: "M12 4v10m-3.5-6.5L12 4l3.5 3.5M6 11.5v8h12v-8",
  search: "M10.5 4.5a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM15 15l4.5 4.5",
};

export type IconName = keyof typeof paths;

/** A line drawing; decoration, so screen readers pass over it. */
export function Icon({ name, className = "size-5" }: { name: IconName; className?: string }) {
  return (
    <svg
      viewBox="0 0 24 24"
      className={`shrink-0 ${className}`}
      fill="none"
      stroke="currentColor"
      strokeWidth={name === "more" ? 2.6 : 1.7}
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
    >
      <path d={paths[name]} />
    </svg>
  );
}
