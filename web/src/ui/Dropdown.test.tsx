// @vitest-environment jsdom
import { fireEvent, render, screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import { Dropdown } from "./Dropdown.tsx";
import { MenuItem } from "./Menu.tsx";

test("a menu hides nothing else of the page, and goes when the page is left for a frame in it", async () => {
  render(
    <main>
      <Dropdown label="Model" face="scripted" look="">
        <MenuItem onSelect={() => {}}>Another</MenuItem>
      </Dropdown>
      <button type="button">Send</button>
    </main>,
  );
  await userEvent.click(screen.getByRole("button", { name: "Model" }));
  const menu = await screen.findByRole("menu");
  expect(screen.getByRole("main").contains(menu)).toBe(true);
  expect(screen.getByRole("button", { name: "Send" })).toBeTruthy();
  fireEvent.blur(window);
  await waitFor(() => expect(screen.queryByRole("menu")).toBeNull());
});
