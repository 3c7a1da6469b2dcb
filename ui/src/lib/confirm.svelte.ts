/** One question at a time, with a dialog that the page keeps ready. */

export interface Question {
  title: string;
  text: string;
  action: string;
  danger: boolean;
}

class Asking {
  question = $state.raw<Question | null>(null);
  #answer: ((yes: boolean) => void) | null = null;

  ask(question: Question): Promise<boolean> {
    this.#answer?.(false);
    this.question = question;
    return new Promise((resolve) => {
      this.#answer = resolve;
    });
  }

  reply(yes: boolean): void {
    this.question = null;
    this.#answer?.(yes);
    this.#answer = null;
  }
}

export const asking = new Asking();
export const confirmed = (question: Question): Promise<boolean> => asking.ask(question);
