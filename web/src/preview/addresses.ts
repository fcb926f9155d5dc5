/** Whether an address is one that only this machine resolves to itself. */
export function isOfThisMachine(address: string): boolean {
  const { hostname } = new URL(address);
  return hostname === "localhost" || hostname.endsWith(".localhost") || /^(127\.|\[::1\])/.test(hostname);
}

/** Where an address is opened: of a private preview by way of the app, which lets in who is signed in. */
export function wayTo(address: string, isPrivate: boolean): string {
  return isPrivate ? `/open-preview?${new URLSearchParams({ to: address })}` : address;
}

/** Whether `address` is the preview's own, or that of another port of its sandbox. */
export function isOfPreview(address: string, preview: string, handle: string): boolean {
  const { host, protocol } = URL.canParse(address) ? new URL(address) : { host: "", protocol: "" };
  const own = new URL(preview);
  const [label, ...domain] = host.split(".");
  const [, ...ownDomain] = own.host.split(".");
  return (
    protocol === own.protocol &&
    (host === own.host || (label?.startsWith(`${handle}--`) === true && domain.join(".") === ownDomain.join(".")))
  );
}
