import { useEffect, useRef } from "react";

/** Alt+P opens a file, Alt+Shift+F searches in all; by the key's place, as Alt makes other letters. */
export function useShortcuts(onOpen: () => void, onSearch: () => void) {
  const latest = useRef({ onOpen, onSearch });
  useEffect(() => {
    latest.current = { onOpen, onSearch };
  });
  useEffect(() => {
    function onKeyDown(event: KeyboardEvent) {
      if (!event.altKey || event.ctrlKey || event.metaKey) return;
      if (event.code === "KeyP" && !event.shiftKey) latest.current.onOpen();
      else if (event.code === "KeyF" && event.shiftKey) latest.current.onSearch();
      else return;
      event.preventDefault();
    }
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, []);
}
