import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// `npm run dev` works on a server that runs already: LIMPET_URL, by default the usual one.
const target = process.env.LIMPET_URL ?? "http://127.0.0.1:7070";
const proxied = { target, changeOrigin: true, ws: true, headers: { origin: target } };

export default defineConfig({
  plugins: [react(), tailwindcss()],
  build: { sourcemap: false, chunkSizeWarningLimit: 900 },
  server: { proxy: { "/api": proxied, "/sign-in": proxied, "/open-preview": proxied } },
  test: { restoreMocks: true, setupFiles: ["src/test/waiting.ts"], testTimeout: 30_000 },
});
