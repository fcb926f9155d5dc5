import { render, screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { MemoryRouter } from "react-router";
import { beforeEach, expect, test, vi } from "vitest";
import { App } from "./App.tsx";
import { site } from "./content.ts";

beforeEach(() => {
  localStorage.clear();
  delete document.documentElement.dataset.theme;
});

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
  const navigation = within(screen.getByRole("navigation", { name: "Pages" }));
  await userEvent.click(navigation.getByRole("link", { name: "About" }));
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
  await userEvent.click(screen.getByRole("button", { name: "Switch to dark" }));
  expect(document.documentElement.dataset.theme).toBe("dark");
  expect(localStorage.getItem("theme")).toBe("dark");
});

test("a browser that keeps nothing for the page still shows it", async () => {
  const blocked = () => {
    throw new DOMException("Access is denied", "SecurityError");
  };
  vi.spyOn(Storage.prototype, "getItem").mockImplementation(blocked);
  vi.spyOn(Storage.prototype, "setItem").mockImplementation(blocked);
  open("/");
  await userEvent.click(screen.getByRole("button", { name: "Switch to dark" }));
  expect(screen.getByRole("button", { name: "Switch to light" })).toBeVisible();
});
