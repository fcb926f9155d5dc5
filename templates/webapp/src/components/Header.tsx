import { NavLink } from "react-router";
import { links, site } from "../content.ts";
import { ThemeSwitch } from "./ThemeSwitch.tsx";

export function Header() {
  return (
    <header className="mx-auto flex w-full max-w-6xl items-center gap-1 px-5 py-4 sm:gap-4 sm:px-8 sm:py-6">
      <NavLink to="/" className="mr-auto rounded font-display text-lg font-semibold tracking-tight">
        {site.name}
      </NavLink>
      <nav aria-label="Pages" className="flex gap-0.5 sm:gap-1">
        {links.map(({ to, label }) => (
          <NavLink
            key={to}
            to={to}
            className={({ isActive }) =>
              `rounded-full px-3 py-2 text-sm transition-colors hover:text-ink sm:px-4 ${
                isActive ? "bg-raised text-ink shadow-xs" : "text-muted"
              } ${to === "/" ? "hidden sm:block" : ""}`
            }
          >
            {label}
          </NavLink>
        ))}
      </nav>
      <ThemeSwitch />
    </header>
  );
}
