// Requests: the token, waiting where the server is busy, pictures of items.

import { element, say } from "./dom.js";

const TOKEN = "embed.token";
const TRIES = 6;
const LONGEST_WAIT = 30; // seconds
const PICTURES_AT_ONCE = 4; // leaves connections free for what the user asks for

/** What the server refused, in its own line; status 0 where it could not be reached. */
export class Refused extends Error {
  constructor(status, line) {
    super(line);
    this.status = status;
  }
}

/**
 * What the server answers, as a Blob.
 *
 * @param options - `body`; `signal` to stop it; `sent(loaded, total)` and `waiting(seconds, left)`
 *   are told how it goes.
 * @throws Refused, or the signal's reason.
 */
export async function request(method, path, options = {}) {
  let left = TRIES;
  for (;;) {
    const token = sessionStorage.getItem(TOKEN);
    const answer = await once(method, path, token, options);
    if (answer.status < 400) return answer.body;
    const line = await errorOf(answer);
    if (answer.status === 401) {
      await newToken(token);
    } else if (answer.status === 503 && --left) {
      const seconds = Math.min(Math.max(answer.after || 1, 1), LONGEST_WAIT);
      options.waiting?.(seconds, left);
      await pause(seconds, options.signal);
    } else {
      throw new Refused(answer.status, line);
    }
  }
}

function once(method, path, token, { body, signal, sent }) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const xhr = new XMLHttpRequest();
    xhr.open(method, path);
    xhr.responseType = "blob";
    if (token) xhr.setRequestHeader("Authorization", `Bearer ${token}`);
    if (sent) xhr.upload.onprogress = (event) => sent(event.loaded, event.total);
    xhr.onload = () =>
      resolve({
        status: xhr.status,
        body: xhr.response,
        after: Number(xhr.getResponseHeader("Retry-After")),
      });
    xhr.onerror = () =>
      reject(
        new Refused(0, "The server cannot be reached: see whether it runs, then press Match again."),
      );
    xhr.onabort = () => reject(signal.reason);
    signal?.addEventListener("abort", () => xhr.abort(), { once: true });
    xhr.send(body);
  });
}

async function errorOf({ status, body }) {
  try {
    const { error } = JSON.parse(await body.text());
    if (typeof error === "string") return error;
  } catch {
    // no answer of ours: a proxy's, say
  }
  return `The server answered with status ${status}: try again, or ask whoever runs it.`;
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

let asked = null; // while the form is open

/** Ask for a token, once however many requests need it; done where there is another by now. */
function newToken(refused) {
  if (sessionStorage.getItem(TOKEN) !== refused) return Promise.resolve();
  asked ??= askedFor(refused !== null).finally(() => (asked = null));
  return asked;
}

function askedFor(again) {
  const dialog = element("token-dialog");
  const form = element("token-form");
  say(element("token-error"), again ? "The server wants another token than that: compare it." : "");
  form.reset();
  dialog.showModal();
  return new Promise((resolve, reject) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      sessionStorage.setItem(TOKEN, element("token").value);
      resolve(); // before the dialog says that it was closed
      dialog.close();
    };
    element("token-cancel").onclick = () => dialog.close();
    dialog.onclose = () =>
      reject(new Refused(401, "The server wants a token: press Match to enter it."));
  });
}

const pictures = new Map(); // item id -> promise of an address, or of null
const queue = [];
let fetching = 0;

/** The address of an item's picture; null if it has none. */
export function pictureOf(itemId) {
  if (!pictures.has(itemId)) {
    pictures.set(itemId, new Promise((resolve) => queue.push([itemId, resolve])));
    fetchNext();
  }
  return pictures.get(itemId);
}

async function fetchNext() {
  if (fetching >= PICTURES_AT_ONCE || !queue.length) return;
  const [itemId, resolve] = queue.shift();
  fetching += 1;
  try {
    const blob = await request("GET", `v1/pictures/${encodeURIComponent(itemId)}`);
    resolve(blob.type.startsWith("image/") ? URL.createObjectURL(blob) : null);
  } catch (error) {
    if (error.status !== 404) pictures.delete(itemId); // it may be had another time
    resolve(null);
  }
  fetching -= 1;
  fetchNext();
}
