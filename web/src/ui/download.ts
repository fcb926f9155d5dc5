/** Lets the browser fetch `url` into a file called `name`. */
export function download(url: string, name: string) {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
}
