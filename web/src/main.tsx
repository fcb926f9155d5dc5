import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App.tsx";
import { makeRouter } from "./router.tsx";
import { applyChosenTheme } from "./ui/theme.ts";
import "./index.css";

applyChosenTheme();

const router = makeRouter();
const place = document.getElementById("root");
if (!place) throw new Error("index.html has no element with the id root");

createRoot(place).render(
  <StrictMode>
    <App router={router} />
  </StrictMode>,
);
