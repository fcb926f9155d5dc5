/** Holds a lock until this page or worker dies; resolves once it is held. */
export const holdLock = (name: string) =>
  new Promise<void>((held) => {
    void navigator.locks.request(name, () => {
      held();
      return new Promise<never>(() => {});
    });
  });

/** Resolves when nobody holds the lock any more. */
export const whenFree = (name: string) => navigator.locks.request(name, () => {});
