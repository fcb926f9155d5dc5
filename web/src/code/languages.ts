import type { Extension } from "@codemirror/state";

/** The language of a file by its name, loaded when it is needed; null: none is known. */
export async function languageOf(path: string): Promise<Extension | null> {
  const ending = path.slice(path.lastIndexOf(".") + 1).toLowerCase();
  switch (ending) {
    case "html":
    case "htm":
    case "svg":
    case "xml":
    case "vue":
      return (await import("@codemirror/lang-html")).html();
    case "css":
    case "scss":
    case "less":
      return (await import("@codemirror/lang-css")).css();
    case "js":
    case "mjs":
    case "cjs":
      return (await import("@codemirror/lang-javascript")).javascript();
    case "jsx":
      return (await import("@codemirror/lang-javascript")).javascript({ jsx: true });
    case "ts":
    case "mts":
    case "cts":
      return (await import("@codemirror/lang-javascript")).javascript({ typescript: true });
    case "tsx":
      return (await import("@codemirror/lang-javascript")).javascript({ typescript: true, jsx: true });
    case "json":
    case "jsonc":
    case "webmanifest":
      return (await import("@codemirror/lang-json")).json();
    case "md":
    case "mdx":
    case "markdown":
      return (await import("@codemirror/lang-markdown")).markdown();
    case "py":
    case "pyi":
      return (await import("@codemirror/lang-python")).python();
    default:
      return null;
  }
}
