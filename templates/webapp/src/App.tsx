import { Route, Routes } from "react-router";
import { Layout } from "./components/Layout.tsx";
import { pages } from "./routes.tsx";
import { NotFound } from "./pages/NotFound.tsx";

export function App() {
  return (
    <Routes>
      <Route element={<Layout />}>
        {pages.map(({ path, Page }) => (
          <Route key={path} path={path} element={<Page />} />
        ))}
        <Route path="*" element={<NotFound />} />
      </Route>
    </Routes>
  );
}
