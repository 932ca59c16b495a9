// Values that components watch, requests for them, and work that pauses while the page is hidden.
import { useEffect, useState } from "./vendor/htm-preact.js";

/** A store: `get`, `set`, and `use`, which renders a component again when the part that it selects is another one. */
export function store(value) {
  const watchers = new Set();
  return {
    get: () => value,
    set(next) {
      value = next;
      for (const watcher of [...watchers]) watcher();
    },
    use(select = (whole) => whole) {
      const [part, setPart] = useState(() => select(value));
      useEffect(() => {
        const watcher = () => setPart(() => select(value));
        watchers.add(watcher);
        watcher();
        return () => watchers.delete(watcher);
      }, []);
      return part;
    },
  };
}

/** Runs `start` while the tab is visible, and what it returned when it is hidden. Returns what ends it. */
export function whileVisible(start) {
  let stop = null;
  const change = () => {
    if (document.hidden && stop) {
      stop();
      stop = null;
    } else if (!document.hidden && !stop) {
      stop = start();
    }
  };
  document.addEventListener("visibilitychange", change);
  change();
  return () => {
    document.removeEventListener("visibilitychange", change);
    stop?.();
    stop = null;
  };
}

/** Calls an async function again and again, `every` ms after it has ended, while the tab is visible. */
export function repeat(every, call) {
  return whileVisible(() => {
    let timer = null;
    let stopped = false;
    const run = async () => {
      await call();
      if (!stopped) timer = setTimeout(run, every);
    };
    run();
    return () => {
      stopped = true;
      clearTimeout(timer);
    };
  });
}

/** `repeat` for as long as a component is shown. */
export function useRepeat(every, call, dependencies) {
  useEffect(() => repeat(every, call), dependencies);
}
