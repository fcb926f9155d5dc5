import * as Dialog from "@radix-ui/react-dialog";
import { type ReactNode, Suspense, useEffect, useMemo, useState } from "react";
import { keep, kept } from "../ui/kept.ts";
import { later } from "../ui/later.tsx";
import { useWide } from "../ui/useWide.ts";
import { FrameContext } from "./frameContext.ts";
import { Sidebar } from "./Sidebar.tsx";
import { Told } from "./Told.tsx";

const Palette = later(() => import("./Palette.tsx").then((it) => it.Palette));

/** What stands around every page: the sidebar, or the way to it, and the command palette. */
export function Frame({ children }: { children: ReactNode }) {
  const beside = useWide();
  const [narrow, setNarrow] = useState(() => kept("sidebar") === "narrow");
  const [drawer, setDrawer] = useState(false);
  const [palette, setPalette] = useState(false);
  const [told, setTold] = useState("");
  const acts = useMemo(
    () => ({ beside, openSidebar: () => setDrawer(true), openPalette: () => setPalette(true) }),
    [beside],
  );

  useEffect(() => {
    function pressed(event: KeyboardEvent) {
      if (event.defaultPrevented || event.key.toLowerCase() !== "k" || event.shiftKey || event.altKey) return;
      if (!event.metaKey && !event.ctrlKey) return;
      event.preventDefault();
      setDrawer(false);
      setPalette((open) => !open);
    }
    window.addEventListener("keydown", pressed);
    return () => window.removeEventListener("keydown", pressed);
  }, []);

  function toggle() {
    keep("sidebar", narrow ? null : "narrow");
    setNarrow(!narrow);
  }

  return (
    <FrameContext value={acts}>
      <div className="flex h-full">
        <a
          href="#page"
          className="sr-only focus:not-sr-only focus:fixed focus:top-2 focus:left-2 focus:z-50 focus:rounded-full focus:bg-sea focus:px-4 focus:py-2 focus:text-on-sea"
        >
          To the page
        </a>
        {beside && <Sidebar narrow={narrow} onToggle={toggle} />}
        <div id="page" tabIndex={-1} className="min-w-0 flex-1 overflow-auto outline-none">
          {children}
        </div>
      </div>
      {!beside && (
        <Dialog.Root open={drawer} onOpenChange={setDrawer}>
          <Dialog.Portal>
            <Dialog.Overlay className="fixed inset-0 z-40 bg-[#081112]/55" />
            <Dialog.Content
              aria-describedby={undefined}
              className="fixed inset-y-0 left-0 z-50 w-[min(19rem,86vw)] bg-shore shadow-2xl outline-none"
            >
              <Dialog.Title className="sr-only">Menu</Dialog.Title>
              <Sidebar narrow={false} onToggle={() => setDrawer(false)} onLeave={() => setDrawer(false)} />
            </Dialog.Content>
          </Dialog.Portal>
        </Dialog.Root>
      )}
      {palette && (
        <Suspense>
          <Palette onClose={() => setPalette(false)} onDone={setTold} />
        </Suspense>
      )}
      <Told words={told} onClose={() => setTold("")} />
    </FrameContext>
  );
}
