// @vitest-environment jsdom
import { cleanup, render, screen } from "@testing-library/react";
import { afterEach, expect, test } from "vitest";
import { Markdown } from "./Markdown.tsx";

afterEach(cleanup);
const shown = (text: string) => render(<Markdown text={text} />).container;

test("HTML is shown as text and never becomes an element", () => {
  const page = shown(
    'Hi <img src=x onerror="alert(1)"> <b>bold</b>\n\n<script>alert(2)</script>\n\n<iframe src="//evil"></iframe>',
  );
  expect(page.querySelector("img, script, iframe, b")).toBeNull();
  expect(page.textContent).toContain('<img src=x onerror="alert(1)">');
  expect(page.textContent).toContain("<script>alert(2)</script>");
});

test.each(["javascript:alert(1)", "JAVASCRIPT:alert(1)", "java&#115;cript:alert(1)", "data:text/html,x", "/local", "vbscript:x"])(
  "%s is no link",
  (address) => {
    const page = shown(`[press](${address})`);
    expect(page.querySelector("a")).toBeNull();
    expect(page.textContent).toContain("press");
  },
);

test("a link leads out without telling where from, and a picture is one too", () => {
  shown("[a](https://example.com/x) ![p](https://example.com/p.png)");
  const links = screen.getAllByRole("link");
  expect(links.map((link) => [link.getAttribute("href"), link.getAttribute("rel")])).toEqual([
    ["https://example.com/x", "noreferrer"],
    ["https://example.com/p.png", "noreferrer"],
  ]);
});

test("lists, tables, code and quotes are what they are", () => {
  const page = shown(
    "# One\n\n1. a\n2. b\n   - c\n\n- [x] done\n\n|k|v|\n|-|-:|\n|1|2|\n\n```ts\nconst a = '<b>';\n```\n\n> said\n\n---\n\n~~no~~ `<i>` &lt;x&gt; &#x41; &nope;",
  );
  expect(page.querySelector("h3")?.textContent).toBe("One");
  expect(page.querySelectorAll("ol > li").length).toBe(2);
  expect(page.querySelector("ol ul li")?.textContent).toBe("c");
  expect(page.querySelector<HTMLInputElement>("input")?.checked).toBe(true);
  expect(page.querySelector<HTMLElement>("td:last-child")?.style.textAlign).toBe("right");
  expect(page.querySelector("pre")?.textContent).toBe("const a = '<b>';");
  expect(page.querySelector("blockquote")?.textContent).toBe("said");
  expect(page.querySelector("hr")).toBeTruthy();
  expect(page.querySelector("p code")?.textContent).toBe("<i>");
  expect(page.textContent).toContain("<x> A &nope;");
});

test("text that streams in shows at each moment, also half of a mark", () => {
  const { container, rerender } = render(<Markdown text={"A **bo"} />);
  expect(container.textContent).toBe("A **bo");
  rerender(<Markdown text={"A **bold**\n\n```js\nlet"} />);
  expect(container.querySelector("strong")?.textContent).toBe("bold");
  expect(container.querySelector("pre")?.textContent).toBe("let");
  rerender(<Markdown text={"A **bold**\n\n```js\nlet a\n```\n\nB"} />);
  expect(container.querySelector("pre")?.textContent).toBe("let a");
  expect(container.textContent?.endsWith("B")).toBe(true);
});
