// The results on screen: a card a photo, and the missing items.

import { counted, element, make, name, percent, shown } from "./dom.js";
import { pictureOfPhoto } from "./photos.js";
import { byDoubt, piecesOf } from "./revise.js";
import { pictureOf } from "./server.js";

const KINDS = {
  unreadable: ["!", "Unreadable"],
  unsure: ["?", "Unsure"],
  unknown: ["∅", "None of the candidates"],
  matched: ["✓", "Matched"],
};
const MOST_PICTURED = 500; // missing items: a list of ids can be a whole catalogue
const SVG = "http://www.w3.org/2000/svg";
const NONE = "none"; // values of a select beside "item 0", "item 1" ...
const ENGINE = "engine";
const NOTHING = "nothing";

// Pictures of items are asked for when they come near to what is seen.
const near = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      fill(target);
    }
  },
  { rootMargin: "300px" },
);
const itemOf = new WeakMap(); // of places of pictures
const here = new Map(); // item id -> address of a picture that is shown at once

async function fill(place) {
  const itemId = itemOf.get(place);
  const url = await pictureOf(itemId);
  if (url === null) {
    place.textContent = "no picture";
  } else {
    here.set(itemId, url);
    place.replaceWith(pictureOfItem(itemId));
  }
}

function pictureOfItem(itemId) {
  const src = here.get(itemId);
  if (src) return make("img", { className: "picture", src, alt: `Reference photo of ${shown(itemId)}` });
  const place = make("span", { className: "picture none" });
  itemOf.set(place, itemId);
  near.observe(place);
  return place;
}

/** Show the photos while they are matched. */
export function showWaiting(photos) {
  element("cards").replaceChildren(
    ...photos.map((photo, at) => {
      const waiting = make("p", { className: "hint", textContent: "matching…" });
      const pictures = make("div", { className: "pictures" }, photoFigure(photo, at));
      return make("li", { className: "card" }, heading(photo, at), waiting, pictures);
    }),
  );
  for (const id of ["counts", "downloads", "missing", "stale"]) element(id).hidden = true;
  element("results").hidden = false;
}

/**
 * Show results, the doubtful first; gives `update(revised)`, which shows them as revised.
 *
 * @param results - `found` as the server answered, `photos`, `choices` (place -> item id or null).
 * @param onChoice - told a place and an item id, null, or undefined for the engine's answer.
 */
export function showResults({ found, photos, choices }, onChoice) {
  const collator = new Intl.Collator("en", { numeric: true });
  const items = [...piecesOf(found).keys()].sort(collator.compare);
  const cards = found.matches.map((match, at) => card(match, at, photos[at], items, onChoice));
  element("cards").replaceChildren(...byDoubt(found.matches).map((at) => cards[at].root));
  for (const id of ["counts", "downloads", "results"]) element(id).hidden = false;
  return ({ matches, missing }) => {
    matches.forEach((match, at) => cards[at].update(match, choices.get(at)));
    showCounts(matches);
    showMissing(missing);
  };
}

function card(original, at, photo, items, onChoice) {
  const status = make("p", { className: "why" });
  const pictures = make("div", { className: "pictures" });
  const select = choice(original, at, items, onChoice);
  const label = make("label", { className: "set" }, "Set by hand ", select.root);
  const root = make("li", { className: "card" }, heading(photo, at), status, pictures, label);
  const figure = photoFigure(photo, at);
  let last = null;
  const update = (match, chosen) => {
    select.update(match, chosen);
    if (JSON.stringify(match) === last) return;
    last = JSON.stringify(match);
    const [sign, title] = KINDS[match.status];
    root.className = `card ${match.status}`;
    status.replaceChildren(
      make("span", { className: "sign", textContent: sign, ariaHidden: "true" }),
      ` ${title}`,
      ...(match.reason ? [": ", make("bdi", { textContent: match.reason })] : []),
    );
    pictures.replaceChildren(figure, ...answerFigures(match));
  };
  return { root, update };
}

const heading = (photo, at) => make("h3", {}, `Photo ${at + 1}: `, name(photo.name));

const photoFigure = (photo, at) =>
  make("figure", {}, pictureOfPhoto(photo, `Photo ${at + 1}`), make("figcaption", {}, "Photo"));

function answerFigures(match) {
  if (match.item_id === null && match.confidence === null && match.status !== "unknown") return [];
  const figures = [];
  if (match.item_id === null) {
    const nothing = make("span", { className: "picture none sign", textContent: "∅" });
    nothing.ariaHidden = "true";
    const caption = make("figcaption", {}, "None of the candidates", ...share(match.confidence));
    figures.push(make("figure", {}, nothing, caption));
  } else {
    figures.push(itemFigure(match.item_id, "Item", match.confidence));
  }
  if (match.runner_up !== null && match.status !== "matched") {
    const label = match.item_id === null ? "Nearest" : "Runner-up";
    figures.push(itemFigure(match.runner_up, label, confidenceOf(match, match.runner_up)));
  }
  return figures;
}

const confidenceOf = (match, itemId) =>
  match.alternatives.find((other) => other.item_id === itemId)?.confidence ?? null;

function itemFigure(itemId, label, confidence) {
  const caption = make("figcaption", {}, `${label} `, name(itemId), ...share(confidence));
  return make("figure", {}, pictureOfItem(itemId), caption);
}

/** A probability as a bar and a number. */
function share(confidence) {
  if (confidence === null) return [];
  const bar = document.createElementNS(SVG, "svg");
  const attributes = { class: "bar", viewBox: "0 0 100 6", preserveAspectRatio: "none" };
  set(bar, { ...attributes, "aria-hidden": "true" });
  for (const [kind, width] of [["all", 100], ["part", 100 * confidence]]) {
    const rect = document.createElementNS(SVG, "rect");
    set(rect, { class: kind, width, height: 6 });
    bar.append(rect);
  }
  const hidden = make("span", { className: "hidden", textContent: ", probability " });
  return [make("span", { className: "share" }, bar, hidden, percent(confidence))];
}

function set(target, attributes) {
  for (const [key, value] of Object.entries(attributes)) target.setAttribute(key, value);
}

/** The select of a card; all candidates are put into it only once it is used. */
function choice(original, at, items, onChoice) {
  const root = make("select", { ariaLabel: `Set by hand the item of photo ${at + 1}` });
  const values = new Map(items.map((itemId, number) => [itemId, `item ${number}`]));
  const option = (value, textContent) => make("option", { value, textContent });
  const engine = option(ENGINE, `As matched: ${saidOf(original)}`);
  const likely = original.alternatives.map(({ item_id, confidence }) =>
    option(values.get(item_id), `${shown(item_id)}, ${percent(confidence)}`),
  );
  const nothing = option(NOTHING, "No item: choose one");
  nothing.hidden = true;
  nothing.disabled = true;
  const first = new Set(original.alternatives.map((other) => other.item_id));
  root.append(engine, nothing, ...likely, option(NONE, "None of these"));
  const complete = () => {
    if (root.dataset.complete) return;
    root.dataset.complete = "true";
    const rest = items.filter((itemId) => !first.has(itemId));
    root.lastChild.before(...rest.map((itemId) => option(values.get(itemId), shown(itemId))));
  };
  for (const event of ["pointerdown", "focus"]) root.addEventListener(event, complete);
  root.addEventListener("change", () => {
    if (root.value === ENGINE) onChoice(at, undefined);
    else onChoice(at, root.value === NONE ? null : items[Number(root.value.slice(5))]);
  });
  const update = (match, chosen) => {
    const has = match.item_id === null && match.status === "unsure" && original !== match;
    if (chosen) complete();
    if (has) root.value = NOTHING;
    else if (chosen === undefined) root.value = ENGINE;
    else root.value = chosen === null ? NONE : values.get(chosen);
  };
  return { root, update };
}

function saidOf({ item_id, status, confidence }) {
  if (status === "unreadable") return "unreadable";
  const what = item_id === null ? "none of these" : shown(item_id);
  return confidence === null ? what : `${what}, ${percent(confidence)}`;
}

function showCounts(matches) {
  const parts = Object.entries(KINDS).map(([status, [sign, title]]) => {
    const number = matches.filter((match) => match.status === status).length;
    if (!number) return "";
    const mark = make("span", { className: "sign", textContent: sign, ariaHidden: "true" });
    const bold = make("b", { textContent: number.toLocaleString("en") });
    return make("li", { className: status }, mark, " ", bold, ` ${title}`);
  });
  element("counts").replaceChildren(...parts.filter(Boolean));
}

function showMissing(missing) {
  const entries = Object.entries(missing);
  const pieces = entries.reduce((sum, [, number]) => sum + number, 0);
  element("missing").hidden = !pieces;
  element("missing-count").textContent = pieces.toLocaleString("en");
  element("missing-cards").replaceChildren(
    ...entries.map(([itemId, number], at) => {
      const count = number > 1 ? [make("p", { className: "hint" }, counted(number, "piece"))] : [];
      const title = make("h3", {}, name(itemId));
      if (at >= MOST_PICTURED) return make("li", {}, title, ...count);
      const picture = make("figure", {}, pictureOfItem(itemId));
      return make("li", { className: "card" }, title, picture, ...count);
    }),
  );
}

/** What is left to do, in a line. */
export function headline({ matches, missing }) {
  const doubtful = matches.filter((match) => match.status !== "matched").length;
  const pieces = Object.values(missing).reduce((sum, number) => sum + number, 0);
  const total = counted(matches.length, "photo");
  const said = doubtful
    ? `${doubtful} of ${total} ${doubtful === 1 ? "needs" : "need"} a look`
    : `All ${total} matched`;
  return `${said}${pieces ? `, ${pieces.toLocaleString("en")} missing` : ""}.`;
}
