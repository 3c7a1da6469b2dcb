/** The notices that one has yet to read, as the server last said. */

import { api, segment } from "./api";
import type { NoticeToRead, Unread } from "./consent";
import { session } from "./session.svelte";

class Reading {
  notices = $state.raw<NoticeToRead[]>([]);
  labelled = $state(true);
  institution = $state("");
  #turn = 0;

  /** Asks which there are; `model` is named in them. Where that cannot be had, the service itself still refuses. */
  async refresh(model: string): Promise<void> {
    const turn = ++this.#turn;
    const found = await api.get<Unread>("/notices", { model }).catch(() => null);
    if (found === null || turn !== this.#turn) return;
    this.notices = found.notices;
    this.labelled = found.labelled;
    this.institution = found.institution;
  }

  /** One has read the version that is shown. Raises ApiError. */
  async acknowledge(notice: NoticeToRead): Promise<void> {
    await api.post(`/notices/${segment(notice.id)}/acknowledge`, { digest: notice.digest });
    this.#turn++;
    this.notices = this.notices.filter((each) => each.id !== notice.id);
  }

  forget(): void {
    this.#turn++;
    this.notices = [];
    this.institution = "";
  }
}

export const reading = new Reading();
session.onLeave(() => reading.forget());
