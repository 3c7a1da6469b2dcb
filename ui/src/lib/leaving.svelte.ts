/** The address somebody is about to follow out of the house, until they say yes or no. */

import { type Destination, destination } from "./links";

class Leaving {
  to = $state.raw<{ destination: Destination; kind: "link" | "image" } | null>(null);

  offer(address: string, kind: "link" | "image"): void {
    const found = destination(address);
    if (found !== null) this.to = { destination: found, kind };
  }

  forget(): void {
    this.to = null;
  }
}

export const leaving = new Leaving();

/** Attached to rendered text: its links ask before they lead anywhere. */
export function asksBeforeLeaving(node: HTMLElement): () => void {
  const follow = (event: Event) => {
    const link = (event.target as Element).closest?.("[data-url]");
    if (!(link instanceof HTMLElement) || !node.contains(link)) return;
    event.preventDefault();
    leaving.offer(link.dataset.url ?? "", link.dataset.kind === "image" ? "image" : "link");
  };
  const pressed = (event: KeyboardEvent) => {
    if (event.key === "Enter") follow(event);
  };
  node.addEventListener("click", follow);
  node.addEventListener("keydown", pressed);
  return () => {
    node.removeEventListener("click", follow);
    node.removeEventListener("keydown", pressed);
  };
}
