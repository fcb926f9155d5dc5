/** Small choices that this browser keeps; where it keeps nothing, they hold until the page is left. */
const meanwhile = new Map<string, string>();

export function kept(name: string): string | null {
  try {
    return localStorage.getItem(`limpet-${name}`);
  } catch {
    return meanwhile.get(name) ?? null;
  }
}

export function keep(name: string, value: string | null) {
  try {
    if (value === null) localStorage.removeItem(`limpet-${name}`);
    else localStorage.setItem(`limpet-${name}`, value);
  } catch {
    if (value === null) meanwhile.delete(name);
    else meanwhile.set(name, value);
  }
}
