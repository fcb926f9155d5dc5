import "@testing-library/jest-dom/vitest";
import { cleanup } from "@testing-library/react";
import { afterEach, vi } from "vitest";

// jsdom lays nothing out, so it cannot scroll.
vi.stubGlobal("scrollTo", () => {});

afterEach(cleanup);
