import { Link } from "react-router";
import { links, site } from "../content.ts";

const year = new Date().getFullYear();

export function Footer() {
  return (
    <footer className="mx-auto w-full max-w-6xl px-5 sm:px-8">
      <div className="flex flex-wrap items-center gap-x-6 gap-y-3 border-t border-line py-8 text-sm text-muted">
        <p className="mr-auto">
          © {year} {site.name}
        </p>
        <nav aria-label="Footer" className="flex flex-wrap gap-x-6 gap-y-3">
          {links.map(({ to, label }) => (
            <Link key={to} to={to} className="rounded transition-colors hover:text-ink">
              {label}
            </Link>
          ))}
        </nav>
      </div>
    </footer>
  );
}
