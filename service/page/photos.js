// The photos that were given: thumbnails, names, and what of them the server would refuse.

import { counted, element, make, megabytes, name, say, shown } from "./dom.js";

const LISTS = /\.(txt|csv|tsv)$/i;
const PHOTOS = /\.(jpe?g|jpe|jfif|png|webp|gif|bmp|tiff?|avif|hei[cf]|hif)$/i;
const OTHER_PARTS = 4096; // of a request: the lines around a photo and its like

/** The photos, in order: `file`, `name` (no two alike), `url` of its picture. */
export const photos = [];

let changed = () => {};
let kept = () => []; // photos that are shown elsewhere

/** @param onChange - called after each change. @param shownElsewhere - tells which are. */
export function watchPhotos(onChange, shownElsewhere) {
  changed = onChange;
  kept = shownElsewhere;
  for (const id of ["choose", "camera"]) {
    element(id).addEventListener("change", ({ target }) => {
      addPhotos([...target.files]);
      target.value = ""; // so that the same file can be chosen again
    });
  }
  element("clear").addEventListener("click", () => {
    while (photos.length) remove(photos[0]);
    element("choose").focus();
  });
}

/** Take files as photos; others are named and left out. */
export function addPhotos(files) {
  const other = files.filter((file) => !isPhoto(file));
  for (const file of files.filter(isPhoto)) {
    const photo = { file, name: nameFor(file), url: URL.createObjectURL(file) };
    photos.push(photo);
    element("thumbs").append(thumbnail(photo));
  }
  const more = other.length > 1 ? ` and ${other.length - 1} more` : "";
  say(element("left-out"), other.length ? `Left out, not a photo: ${shown(other[0].name)}${more}` : "");
  changed();
}

export const isList = (file) => file.type.startsWith("text/") || LISTS.test(file.name);

// Not every system knows a type for every photo.
const isPhoto = (file) => file.type.startsWith("image/") || !file.type || PHOTOS.test(file.name);

/** A name that no other photo has: phones call every photo image.jpg. */
function nameFor({ name: given }) {
  const taken = new Set(photos.map((photo) => photo.name));
  const [, stem, ending] = /^(.*?)(\.[^.]*)?$/s.exec(given);
  let unique = given;
  for (let number = 2; taken.has(unique); number += 1) unique = `${stem} (${number})${ending ?? ""}`;
  return unique;
}

function thumbnail(photo) {
  const button = make("button", { type: "button", textContent: "×", className: "remove" });
  button.setAttribute("aria-label", `Remove ${shown(photo.name)}`);
  button.title = "Remove";
  button.addEventListener("click", () => {
    const next = photo.item.nextElementSibling ?? photo.item.previousElementSibling;
    remove(photo);
    (next?.querySelector("button") ?? element("choose")).focus();
  });
  const caption = make("figcaption", { title: shown(photo.name) }, name(photo.name));
  photo.item = make("li", {}, make("figure", {}, pictureOfPhoto(photo, ""), caption), button);
  return photo.item;
}

function remove(photo) {
  photos.splice(photos.indexOf(photo), 1);
  photo.item.remove();
  release([photo]);
  say(element("left-out"), "");
  changed();
}

/** Let go of the pictures of photos that are shown nowhere any more. */
export function release(some) {
  const used = new Set([...photos, ...kept()]);
  for (const photo of some) if (!used.has(photo)) URL.revokeObjectURL(photo.url);
}

/** A picture of a photo, or a placeholder where this browser cannot show it, as with HEIC. */
export function pictureOfPhoto(photo, alt) {
  // Lazy, as a hundred photos of a phone are much to decode at once.
  const picture = make("img", { className: "picture", alt, loading: "lazy", src: photo.url });
  picture.addEventListener("error", () =>
    picture.replaceWith(make("span", { className: "picture none", textContent: "no preview here" })),
  );
  return picture;
}

/** What the server would refuse of the photos, in one line; nothing if all can go. */
export function tooMuch(limits, idsSize) {
  const { photos_at_most: most, photo_bytes: largest, body_bytes: all } = limits;
  if (photos.length > most) {
    return `Expected at most ${counted(most, "photo")} at once, found ${photos.length}: remove ${photos.length - most}.`;
  }
  const large = photos.find((photo) => photo.file.size > largest);
  if (large) {
    const found = megabytes(large.file.size);
    return `Expected at most ${megabytes(largest)} MB a photo, found ${found} in ${shown(large.name)}: remove it, or make it smaller.`;
  }
  const sizes = photos.map((photo) => photo.file.size + OTHER_PARTS);
  const total = sizes.reduce((sum, size) => sum + size, idsSize + OTHER_PARTS);
  if (total > all) {
    return `Expected at most ${megabytes(all)} MB of photos at once, found ${megabytes(total)}: remove some, or make them smaller.`;
  }
  return "";
}

/** The files that were dropped, those in folders too, by name. */
export async function filesDropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  return (await Promise.all(entries.map(filesIn))).flat();
}

async function filesIn(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const inside = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) break; // it gives a hundred at a time
    inside.push(...some);
  }
  const seen = inside.filter((one) => !one.name.startsWith("."));
  seen.sort((one, other) => (one.name < other.name ? -1 : 1));
  return (await Promise.all(seen.map(filesIn))).flat();
}
