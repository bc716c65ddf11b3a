// What every part of the page needs: elements, texts from elsewhere, files to save.

// What turns the direction of writing or cannot be seen, as the `embed` command spells it out.
const NOT_SHOWN =
  /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

export const element = (id) => document.getElementById(id);

/** An element with properties (not attributes) and children; texts are never read as HTML. */
export function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** A name from elsewhere, which cannot turn the text around it. */
export const name = (text) => make("bdi", { className: "name", textContent: text });

/** A name in one line where no element can isolate it: in options and labels. */
export const shown = (text) => text.replace(NOT_SHOWN, escaped);

const escaped = (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** JSON with what a terminal would obey escaped, as `embed match --format json` prints it. */
export const jsonText = (value) =>
  JSON.stringify(value, null, 2).replace(NOT_SHOWN, (found) =>
    found === "\n" ? found : escaped(found),
  ) + "\n";

/** Show a line, or hide its place where there is nothing to say. */
export function say(place, text) {
  place.textContent = text;
  place.hidden = !text;
}

export const megabytes = (bytes) => (bytes / 1e6).toFixed(1);

export const counted = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;

export const percent = (share) => `${(100 * share).toFixed(1)}%`;

/** Let the browser save a file. */
export function save(filename, blob) {
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: filename }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
