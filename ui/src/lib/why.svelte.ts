/** "Why can't I?": one question at a time, for a dialog that the page keeps ready. */

import type { Asked } from "./types";

class Why {
  asked = $state.raw<Asked | null>(null);

  ask(asked: Asked): void {
    this.asked = asked;
  }

  done(): void {
    this.asked = null;
  }
}

export const why = new Why();
