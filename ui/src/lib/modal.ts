import type { Attachment } from "svelte/attachments";

/**
 * Makes a `<dialog>` modal for as long as it is in the page. `onaway` is called for the escape key and for a press
 * outside of it, which began there: whoever marks text and lets go outside wants to stay.
 */
export const modal =
  (onaway: () => void): Attachment<HTMLDialogElement> =>
  (node) => {
    const before = document.activeElement;
    let pressedOutside = false;
    const away = new AbortController();
    const { signal } = away;
    const cancelled = (event: Event) => {
      event.preventDefault();
      onaway();
    };
    node.addEventListener("cancel", cancelled, { signal });
    node.addEventListener(
      "pointerdown",
      (event) => {
        pressedOutside = event.target === node;
      },
      { signal },
    );
    node.addEventListener(
      "click",
      (event) => {
        if (event.target === node && pressedOutside) onaway();
      },
      { signal },
    );
    node.showModal();
    return () => {
      away.abort();
      node.close();
      // The browser gives the focus back only to what it still finds; by now the dialog may be out of the page.
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  };
