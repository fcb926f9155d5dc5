import { useQuery } from "@tanstack/react-query";
import {
  createRootRoute,
  createRoute,
  createRouter,
  Link,
  Outlet,
  type RouterHistory,
} from "@tanstack/react-router";
import { AgentPage, VIEWS, type View } from "./agent/AgentPage.tsx";
import { ApiError } from "./api/client.ts";
import { systemQuery } from "./api/queries.ts";
import { HomePage } from "./home/HomePage.tsx";
import { SignInNeeded } from "./home/SignInNeeded.tsx";
import { Mark } from "./ui/Mark.tsx";

function Root() {
  const { error } = useQuery(systemQuery);
  if (error instanceof ApiError && error.status === 401) return <SignInNeeded />;
  if (error instanceof ApiError && error.status === 0) return <ServerAway error={error} />;
  return <Outlet />;
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

const root = createRootRoute({ component: Root, notFoundComponent: NotFound });
const home = createRoute({ getParentRoute: () => root, path: "/", component: HomePage });
const agent = createRoute({
  getParentRoute: () => root,
  path: "/$org/agents/$agentId",
  component: AgentPage,
  validateSearch: (search): { main?: View; branch?: string; thread?: string } => {
    const main = VIEWS.find((view) => view === search.main);
    const branch = typeof search.branch === "string" && search.branch ? search.branch : undefined;
    const thread = typeof search.thread === "string" && search.thread ? search.thread : undefined;
    return { ...(main && { main }), ...(branch && { branch }), ...(thread && { thread }) };
  },
});

const routeTree = root.addChildren([home, agent]);

/** The app's pages; `history` says where its addresses live, by default in the browser's. */
export const makeRouter = (history?: RouterHistory) => createRouter({ routeTree, history });

declare module "@tanstack/react-router" {
  interface Register {
    router: ReturnType<typeof makeRouter>;
  }
}
