import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { MemoryRouter } from "react-router";
import { expect, test } from "vitest";
import { App } from "./App.tsx";
import { site } from "./content.ts";

function open(address: string) {
  render(
    <MemoryRouter initialEntries={[address]}>
      <App />
    </MemoryRouter>,
  );
}

test("the first page says what this is", () => {
  open("/");
  expect(screen.getByRole("heading", { level: 1 })).toHaveTextContent(site.headline);
});

test("the navigation leads to the other pages", async () => {
  open("/");
  await userEvent.click(screen.getByRole("link", { name: "About" }));
  expect(screen.getByRole("heading", { level: 1 })).toHaveTextContent("About");
});

test("an unknown address leads back to the start", async () => {
  open("/nowhere");
  await userEvent.click(screen.getByRole("link", { name: "Back to the start" }));
  expect(screen.getByRole("heading", { level: 1 })).toHaveTextContent(site.headline);
});

test("the contact form thanks whoever writes", async () => {
  open("/contact");
  await userEvent.type(screen.getByLabelText("Your name"), "Ada");
  await userEvent.type(screen.getByLabelText("Message"), "Hello");
  await userEvent.click(screen.getByRole("button", { name: "Send" }));
  expect(screen.getByText(/Thank you, Ada/)).toBeVisible();
});

test("the theme can be switched and is remembered", async () => {
  open("/");
  const before = document.documentElement.dataset.theme;
  await userEvent.click(screen.getByRole("button", { name: /Switch to/ }));
  expect(document.documentElement.dataset.theme).not.toBe(before);
  expect(localStorage.getItem("theme")).toBe(document.documentElement.dataset.theme);
});
