/** Where the person is, from the address after `#`. */

export interface Place {
  path: string[];
  query: URLSearchParams;
}

export function placeOf(hash: string): Place {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  return {
    path: path
      .split("/")
      .filter(Boolean)
      .map((part) => {
        try {
          return decodeURIComponent(part);
        } catch {
          return part;
        }
      }),
    query: new URLSearchParams(query),
  };
}

class Router {
  place = $state.raw<Place>(placeOf(location.hash));

  constructor() {
    addEventListener("hashchange", () => this.#read());
    addEventListener("popstate", () => this.#read());
  }

  #read(): void {
    this.place = placeOf(location.hash);
  }

  go(path: string): void {
    if (location.hash !== `#${path}`) history.pushState(null, "", `#${path}`);
    this.#read();
  }

  /** Changes the address without a step back to the old one. */
  replace(path: string): void {
    history.replaceState(null, "", `#${path}`);
    this.#read();
  }
}

export const router = new Router();
