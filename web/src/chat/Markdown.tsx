import { lexer, type Token, type Tokens } from "marked";
import { Fragment, memo, type ReactNode, useMemo } from "react";
import { CodeBlock } from "./CodeBlock.tsx";
import { entities, safeLink } from "./markdownText.ts";

/** What a model wrote, as elements: no HTML of its own is ever made one, only shown as text. */
export const Markdown = memo(function Markdown({ text }: { text: string }) {
  const blocks = useMemo(() => lexer(text), [text]);
  return (
    <div className="chat-prose">
      {blocks.map((block, index) => (
        // oxlint-disable-next-line react/no-array-index-key -- text only grows at its end
        <Block key={index} raw={block.raw} token={block} />
      ))}
    </div>
  );
});

/** One block; while text streams in, those before the last one stay as they are. */
const Block = memo(
  function Block({ token }: { raw: string; token: Token }) {
    return blockOf(token as MarkedToken);
  },
  (one, other) => one.raw === other.raw && one.token.type === other.token.type,
);

type MarkedToken = Exclude<Token, Tokens.Generic> | Tokens.Generic;

function blockOf(token: MarkedToken): ReactNode {
  switch (token.type) {
    case "heading": {
      const Heading = token.depth <= 2 ? "h3" : "h4";
      return <Heading>{inline(token.tokens)}</Heading>;
    }
    case "paragraph":
      return <p>{inline(token.tokens)}</p>;
    case "text":
      return token.tokens ? inline(token.tokens) : entities(token.text as string);
    case "code":
      return <CodeBlock text={token.text as string} language={token.lang as string | undefined} />;
    case "blockquote":
      return <blockquote>{all(token.tokens)}</blockquote>;
    case "list":
      return listOf(token as Tokens.List);
    case "table":
      return tableOf(token as Tokens.Table);
    case "hr":
      return <hr />;
    case "checkbox":
      return inlineOf(token);
    case "html":
      return <p className="whitespace-pre-wrap">{token.raw}</p>;
    default:
      return null;
  }
}

const all = (tokens: Token[] | undefined) => tokens?.map((token, index) => <Fragment key={index}>{blockOf(token as MarkedToken)}</Fragment>);

function listOf(list: Tokens.List) {
  const items = list.items.map((item, index) => (
    <li key={index} className={item.task ? "list-none" : undefined}>
      {all(item.tokens)}
    </li>
  ));
  if (!list.ordered) return <ul>{items}</ul>;
  return <ol start={list.start === "" ? undefined : list.start}>{items}</ol>;
}

function tableOf(table: Tokens.Table) {
  const cell = (one: Tokens.TableCell, index: number) => {
    const Cell = one.header ? "th" : "td";
    return (
      <Cell key={index} style={{ textAlign: one.align ?? undefined }}>
        {inline(one.tokens)}
      </Cell>
    );
  };
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a scrolled region is reached by keyboard
    <figure className="overflow-x-auto" tabIndex={0} aria-label="Table">
      <table>
        <thead>
          <tr>{table.header.map(cell)}</tr>
        </thead>
        <tbody>
          {table.rows.map((row, index) => (
            <tr key={index}>{row.map(cell)}</tr>
          ))}
        </tbody>
      </table>
    </figure>
  );
}

const inline = (tokens: Token[] | undefined) =>
  tokens?.map((token, index) => <Fragment key={index}>{inlineOf(token as MarkedToken)}</Fragment>);

function inlineOf(token: MarkedToken): ReactNode {
  switch (token.type) {
    case "text":
      return token.tokens ? inline(token.tokens) : entities(token.text as string);
    case "escape":
      return token.text as string;
    case "strong":
      return <strong>{inline(token.tokens)}</strong>;
    case "em":
      return <em>{inline(token.tokens)}</em>;
    case "del":
      return <del>{inline(token.tokens)}</del>;
    case "codespan":
      return <code>{token.text as string}</code>;
    case "br":
      return <br />;
    case "checkbox":
      return (
        <input type="checkbox" checked={Boolean(token.checked)} disabled aria-label="Done" readOnly />
      );
    case "link":
      return linkOf(token.href as string, inline(token.tokens));
    case "image":
      // Loading it would tell its server who reads this.
      return linkOf(token.href as string, `${(token.text as string) || "picture"} ↗`);
    default:
      return token.raw;
  }
}

function linkOf(href: string, content: ReactNode) {
  const to = safeLink(href);
  if (!to) return <span>{content}</span>;
  return (
    <a href={to} target="_blank" rel="noreferrer">
      {content}
    </a>
  );
}
