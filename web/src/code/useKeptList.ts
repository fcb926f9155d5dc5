import { useState } from "react";
import { keep, kept } from "../ui/kept.ts";

function read(name: string): string[] {
  try {
    const list: unknown = JSON.parse(kept(name) ?? "[]");
    return Array.isArray(list) ? list.filter((one) => typeof one === "string") : [];
  } catch {
    return [];
  }
}

/** A list of texts that this browser keeps under `name`. */
export function useKeptList(name: string) {
  const [list, setList] = useState(() => read(name));

  function change(next: string[]) {
    keep(name, next.length > 0 ? JSON.stringify(next) : null);
    setList(next);
  }

  return [list, change] as const;
}
