import type { IconName } from "./components/Icon.tsx";

/** The words and links that most people change first. */
export const site = {
  name: "New app",
  headline: "Something good starts here.",
  lead: "This page is yours. Say what you want it to become, and watch it change.",
};

export const links = [
  { to: "/", label: "Home" },
  { to: "/about", label: "About" },
  { to: "/contact", label: "Contact" },
];

type Feature = { icon: IconName; title: string; text: string };

export const features: Feature[] = [
  {
    icon: "spark",
    title: "Quick from the start",
    text: "Every change shows at once, and keeps what you typed and where you were.",
  },
  {
    icon: "blocks",
    title: "Made of small parts",
    text: "Pages, components and words each have a place of their own, so a change touches one file.",
  },
  {
    icon: "leaf",
    title: "At home anywhere",
    text: "Light and dark, wide and narrow, mouse and keyboard: it works before you begin.",
  },
];

export const steps = [
  { title: "Say what it is for", text: "One sentence is enough: who comes here, and what they want." },
  { title: "Make it yours", text: "Change the words, the colours and the pictures. Nothing is fixed." },
  { title: "Show it to somebody", text: "Small things become good by being seen. Then change it again." },
];
