import { NavLink } from "react-router";
import { links, site } from "../content.ts";
import { ThemeSwitch } from "./ThemeSwitch.tsx";

export function Header() {
  return (
    <header className="mx-auto flex w-full max-w-5xl flex-wrap items-center gap-x-2 gap-y-2 px-5 sm:gap-x-6 py-5 sm:px-8">
      <NavLink to="/" className="mr-auto text-lg font-semibold tracking-tight">
        {site.name}
      </NavLink>
      <nav aria-label="Pages" className="flex gap-1">
        {links.map(({ to, label }) => (
          <NavLink
            key={to}
            to={to}
            className={({ isActive }) =>
              `rounded-lg px-2.5 py-1.5 text-sm transition-colors hover:text-ink sm:px-3 ${
                isActive ? "bg-raised text-ink shadow-sm" : "text-muted"
              }`
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
