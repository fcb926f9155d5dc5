import { About } from "./pages/About.tsx";
import { Contact } from "./pages/Contact.tsx";
import { Home } from "./pages/Home.tsx";

/** Which page is at which address. */
export const pages = [
  { path: "/", Page: Home },
  { path: "/about", Page: About },
  { path: "/contact", Page: Contact },
];
