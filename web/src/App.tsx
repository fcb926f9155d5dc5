import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { useState } from "react";
import { ApiError } from "./api/client.ts";
import type { makeRouter } from "./router.tsx";

/** Whether asking once more may help: the server said neither no nor what is wrong. */
const worthAnotherTry = (failures: number, error: Error) =>
  failures < 2 && !(error instanceof ApiError && error.status < 500);

/** The pages over one query cache, which holds all that is known of the server. */
export function App({ router }: { router: ReturnType<typeof makeRouter> }) {
  const [queries] = useState(
    () => new QueryClient({ defaultOptions: { queries: { retry: worthAnotherTry } } }),
  );
  return (
    <QueryClientProvider client={queries}>
      <RouterProvider router={router} />
    </QueryClientProvider>
  );
}
