// @vitest-environment jsdom
import { fireEvent, render, screen } from "@testing-library/react";
import { expect, test } from "vitest";
import { agent } from "../test/agent.ts";
import { Thumbnail } from "./Thumbnail.tsx";

test("the preview's picture is shown, a newer one anew, and lines where there is none", () => {
  const { rerender } = render(<Thumbnail agent={agent} />);
  expect(screen.queryByRole("img")).toBeNull();
  rerender(<Thumbnail agent={{ ...agent, thumbnail_at: "2026-11-28T20:00:00Z" }} />);
  const picture = screen.getByRole("img", { name: `The preview of ${agent.title}` });
  expect(picture.getAttribute("src")).toBe(
    `/api/local/agents/${agent.id}/thumbnail?at=2026-11-28T20%3A00%3A00Z`,
  );
  expect(picture.getAttribute("loading")).toBe("lazy");
  fireEvent.error(picture);
  expect(screen.queryByRole("img")).toBeNull();
  rerender(<Thumbnail agent={{ ...agent, thumbnail_at: "2026-11-28T21:00:00Z" }} />);
  expect(screen.getByRole("img")).toBeTruthy();
});
