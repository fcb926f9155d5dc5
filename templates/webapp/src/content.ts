/** The words and links that most people change first. */
export const site = {
  name: "New app",
  year: new Date().getFullYear(),
  headline: "Something good starts here.",
  lead: "This page is yours. Say what you want it to become, and watch it change.",
  features: [
    {
      title: "Quick from the start",
      text: "Vite serves it and reloads every change at once, keeping what you typed and where you were.",
    },
    {
      title: "Made of small parts",
      text: "Pages, components and words each have their own place, so that a change touches one file.",
    },
    {
      title: "At home anywhere",
      text: "Light and dark, wide and narrow, mouse and keyboard: it works before you begin.",
    },
  ],
};

export const links = [
  { to: "/", label: "Home" },
  { to: "/about", label: "About" },
  { to: "/contact", label: "Contact" },
];
