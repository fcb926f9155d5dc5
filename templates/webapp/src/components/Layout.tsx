import { Outlet } from "react-router";
import { site } from "../content.ts";
import { Header } from "./Header.tsx";

export function Layout() {
  return (
    <div className="flex min-h-dvh flex-col">
      <a
        href="#main"
        className="sr-only focus:not-sr-only focus:absolute focus:m-3 focus:rounded-lg focus:bg-raised focus:px-4 focus:py-2"
      >
        Skip to the content
      </a>
      <Header />
      <main id="main" className="mx-auto w-full max-w-5xl flex-1 px-5 sm:px-8">
        <Outlet />
      </main>
      <footer className="mx-auto w-full max-w-5xl border-t border-line px-5 py-8 text-sm text-muted sm:px-8">
        © {site.year} {site.name}
      </footer>
    </div>
  );
}
