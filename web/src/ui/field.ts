/** How a field of a form looks. */
export const field =
  "mt-1.5 h-10 w-full rounded-xl border border-line bg-shore px-3.5 font-normal";

/** The same for several lines. */
export const area =
  "mt-1.5 block w-full rounded-xl border border-line bg-shore px-3.5 py-2.5 leading-relaxed font-normal";
