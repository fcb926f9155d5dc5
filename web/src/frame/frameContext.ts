import { createContext, useContext } from "react";

type FrameActs = {
  /** Whether the sidebar stands beside the page; else it opens over it. */
  beside: boolean;
  openSidebar: () => void;
  openPalette: () => void;
};

export const FrameContext = createContext<FrameActs>({
  beside: false,
  openSidebar: () => {},
  openPalette: () => {},
});

/** What any page can do with the frame around it. */
export const useFrame = () => useContext(FrameContext);
