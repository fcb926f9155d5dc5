import { useEffect } from "react";
import { Outlet, useLocation } from "react-router";
import { Footer } from "./Footer.tsx";
import { Header } from "./Header.tsx";

export function Layout() {
  const { pathname } = useLocation();
  return (
    <div className="flex min-h-dvh flex-col">
      <a
        href="#main"
        className="sr-only focus:not-sr-only focus:absolute focus:z-10 focus:m-3 focus:rounded-full focus:bg-raised focus:px-5 focus:py-2.5"
      >
        Skip to the content
      </a>
      <ToTheTop key={pathname} />
      <Header />
      <main id="main" tabIndex={-1} className="mx-auto w-full max-w-6xl flex-1 px-5 outline-none sm:px-8">
        <Outlet />
      </main>
      <Footer />
    </div>
  );
}

/** Every page begins at its top. */
function ToTheTop() {
  useEffect(() => {
    globalThis.scrollTo({ top: 0, behavior: "instant" });
  }, []);
  return null;
}
