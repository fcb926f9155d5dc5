import { useQuery } from "@tanstack/react-query";
import {
  createRootRoute,
  createRoute,
  createRouter,
  type ErrorComponentProps,
  lazyRouteComponent,
  Link,
  Outlet,
  type RouterHistory,
} from "@tanstack/react-router";
import { AgentPage } from "./agent/AgentPage.tsx";
import { type View, viewCalled } from "./agent/views.ts";
import { ApiError } from "./api/client.ts";
import { systemQuery } from "./api/queries.ts";
import { Frame } from "./frame/Frame.tsx";
import { HomePage } from "./home/HomePage.tsx";
import { SignInNeeded } from "./home/SignInNeeded.tsx";
import { Button, buttonLook } from "./ui/Button.tsx";
import { Mark } from "./ui/Mark.tsx";
import { Opening } from "./ui/Opening.tsx";

function Root() {
  const { error } = useQuery(systemQuery);
  if (error instanceof ApiError && error.status === 401) return <SignInNeeded />;
  if (error instanceof ApiError && error.status === 0) return <ServerAway error={error} />;
  return (
    <Frame>
      <Outlet />
    </Frame>
  );
}

/** Nothing answers; it is asked again by itself. */
function ServerAway({ error }: { error: ApiError }) {
  return (
    <main className="grid min-h-full place-content-center justify-items-center gap-2 p-8 text-center">
      <Mark className="tide size-14" />
      <h1 className="mt-4 font-display text-2xl font-semibold">{error.message}</h1>
      <p className="text-muted">{error.hint}</p>
    </main>
  );
}

/** A page that broke: what was done is on the server, and nothing of it is lost. */
function Broken({ error }: ErrorComponentProps) {
  return (
    <main className="grid h-full place-content-center gap-3 p-8 text-center">
      <h1 className="font-display text-2xl font-semibold">This page broke</h1>
      <p className="max-w-md text-pretty text-muted">
        Nothing on the server is lost by that. It said: <span className="font-mono text-sm">{String(error)}</span>
      </p>
      <p className="flex justify-center gap-2">
        <Button look="main" onClick={() => location.reload()}>
          Load it anew
        </Button>
        <a href="/" className={buttonLook("plain")}>
          Home
        </a>
      </p>
    </main>
  );
}

function NotFound() {
  return (
    <main className="grid h-full place-content-center gap-3 p-8 text-center">
      <h1 className="font-display text-2xl font-semibold">There is nothing here</h1>
      <p>
        <Link to="/" className="text-sea underline underline-offset-4">
          Back home
        </Link>
      </p>
    </main>
  );
}

/** What an agent's page shows: the branch, the conversation, the file, the terminal. */
const TEXTS = ["branch", "thread", "file", "terminal"] as const;
type Shown = { main?: View } & { [name in (typeof TEXTS)[number]]?: string };

const root = createRootRoute({ component: Root, notFoundComponent: NotFound, errorComponent: Broken });
const home = createRoute({ getParentRoute: () => root, path: "/", component: HomePage });
const agent = createRoute({
  getParentRoute: () => root,
  path: "/$org/agents/$agentId",
  component: AgentPage,
  validateSearch: (search): Shown => {
    const main = viewCalled(search.main);
    const texts = TEXTS.filter((name) => typeof search[name] === "string" && search[name]);
    return { ...(main && { main }), ...Object.fromEntries(texts.map((name) => [name, search[name]])) };
  },
});

const admin = createRoute({
  getParentRoute: () => root,
  path: "/admin",
  component: lazyRouteComponent(() => import("./admin/AdminPage.tsx"), "AdminPage"),
});

const routeTree = root.addChildren([home, agent, admin]);

/** The app's pages; `history` says where its addresses live, by default in the browser's. */
export const makeRouter = (history?: RouterHistory) =>
  createRouter({ routeTree, history, defaultPendingComponent: Opening });

declare module "@tanstack/react-router" {
  interface Register {
    router: ReturnType<typeof makeRouter>;
  }
}
