import { type ApiError, asApiError } from "./api";
import { notices } from "./notices.svelte";

/** Does something that may fail and says so in a notice. True when it went well. */
export async function attempt(act: () => Promise<unknown>, done?: string): Promise<boolean> {
  try {
    await act();
  } catch (thrown) {
    const error = asApiError(thrown);
    notices.show(inOneLine(error), error.asked);
    return false;
  }
  if (done !== undefined) notices.show(done);
  return true;
}

const inOneLine = (error: ApiError): string => `${error.message} ${error.hint}`.trim();
