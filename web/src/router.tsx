import { useQuery } from "@tanstack/react-query";
import {
  createRootRoute,
  createRoute,
  createRouter,
  Link,
  Outlet,
} from "@tanstack/react-router";
import { AgentPage, VIEWS, type View } from "./agent/AgentPage.tsx";
import { ApiError } from "./api/client.ts";
import { systemQuery } from "./api/queries.ts";
import { HomePage } from "./home/HomePage.tsx";
import { SignInNeeded } from "./home/SignInNeeded.tsx";

function Root() {
  const { error } = useQuery(systemQuery);
  if (error instanceof ApiError && error.status === 401) return <SignInNeeded />;
  return <Outlet />;
}

function NotFound() {
  return (
    <main className="grid h-full place-items-center p-8 text-center">
      <p>
        There is nothing here. <Link to="/" className="text-sea underline">Back home</Link>
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
  validateSearch: (search): { main?: View } => {
    const main = VIEWS.find((view) => view === search.main);
    return main ? { main } : {};
  },
});

export const router = createRouter({
  routeTree: root.addChildren([home, agent]),
  defaultPreload: false,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
