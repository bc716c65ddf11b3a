// The page of `embed serve`. Photos leave it only by Match and by Download report.

import { counted, element, jsonText, megabytes, save, say, shown } from "./dom.js";
import { addPhotos, filesDropped, isList, photos, release, tooMuch, watchPhotos } from "./photos.js";
import { headline, showResults, showWaiting } from "./results.js";
import { csvText, named, revised } from "./revise.js";
import { Refused, request } from "./server.js";

const MOST_OF_A_LIST = 10_000_000; // bytes

const ids = element("ids");
let limits = null; // what /v1/index says
let results = null; // `found`, `photos`, `ids`, `choices`, `update`, `saved`: what is on screen
let running = null; // an AbortController while something is sent

async function askIndex(options) {
  limits = JSON.parse(await (await request("GET", "v1/index", options)).text());
  const made = new Intl.DateTimeFormat("en", { dateStyle: "long" });
  const day = new Date(limits.created);
  const when = Number.isNaN(day.valueOf()) ? "" : `, indexed on ${made.format(day)}`;
  element("index").textContent = `${counted(limits.items, "item")} in the catalogue${when}.`;
  givenChanged();
}

// What was given

function idCount() {
  const lines = ids.value.split(/\r\n|\r|\n/).map((line) => line.trim());
  return lines.filter((line) => line && !line.startsWith("#")).length;
}

const idsBlob = () => new Blob([ids.value], { type: "text/plain" });

function givenChanged() {
  element("photos-count").textContent = photos.length || "";
  element("ids-count").textContent = idCount() || "";
  element("clear").hidden = photos.length < 2;
  say(element("photos-error"), limits ? tooMuch(limits, idsBlob().size) : "");
  showStale();
}

function showStale() {
  const same = (photo, at) => photo === photos[at];
  const stale =
    results !== null &&
    (results.ids !== ids.value ||
      results.photos.length !== photos.length ||
      !results.photos.every(same));
  if (!running) element("stale").hidden = !stale;
  element("match").textContent = stale ? "Match again" : "Match";
}

function idsError(text) {
  say(element("ids-error"), text);
  ids.ariaInvalid = text ? "true" : "false";
  if (!text) return;
  ids.focus();
  // Mark the first line that the server names.
  let start = 0;
  for (const line of ids.value.split("\n")) {
    const id = line.trim();
    if (id && (text.includes(`'${id}'`) || text.includes(`'${id.replace(/[,\t]\s*\d+$/, "")}'`))) {
      ids.setSelectionRange(start, start + line.length);
      return;
    }
    start += line.length + 1;
  }
}

async function openList(file) {
  try {
    if (file.size > MOST_OF_A_LIST) throw new RangeError();
    ids.value = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    idsError("");
    givenChanged();
  } catch {
    idsError(`${shown(file.name)}: expected a list of ids as UTF-8 text, found something else: save it so.`);
  }
}

function takeFiles(files) {
  const lists = files.filter(isList);
  if (lists.length) openList(lists[0]);
  const others = files.filter((file) => !isList(file));
  if (others.length) addPhotos(others);
}

// Sending

function status(text, done) {
  element("status").textContent = text;
  element("progress").hidden = done === undefined;
  if (done === null) element("progress").removeAttribute("value");
  else if (done !== undefined) element("progress").value = done;
}

/** Send something with its progress on screen; what was answered, or undefined where it failed. */
async function send(path, body, what) {
  running = new AbortController();
  element("cancel").hidden = false;
  for (const id of ["match", "report"]) element(id).ariaDisabled = "true";
  say(element("error"), "");
  const sent = (loaded, total) =>
    loaded < total
      ? status(`Sending ${megabytes(loaded)} of ${megabytes(total)} MB`, loaded / total)
      : status(what, null);
  const waiting = (seconds, left) =>
    status(`The server is busy: trying again in ${seconds} s, ${left} more at most`, null);
  status("Sending", 0);
  try {
    const options = { signal: running.signal, waiting };
    if (!limits) await askIndex(options);
    const refusal = tooMuch(limits, idsBlob().size);
    if (refusal && path === "v1/match") throw new Refused(413, refusal);
    const answer = await request("POST", path, { ...options, body, sent });
    status("");
    return answer;
  } catch (error) {
    status("");
    if (error.status === 422 && path === "v1/match") idsError(error.message);
    else failed(error);
    return undefined;
  } finally {
    running = null;
    element("cancel").hidden = true;
    for (const id of ["match", "report"]) element(id).ariaDisabled = "false";
  }
}

function failed(error) {
  if (error.name === "AbortError") status("Cancelled.");
  else if (error instanceof Refused) say(element("error"), error.message);
  else say(element("error"), `This page failed: ${error.message}: load it again.`);
}

function form(some) {
  const body = new FormData();
  // What files are called stays here.
  some.forEach((photo, at) => body.append("photos", photo.file, `photo ${at + 1}`));
  return body;
}

// Matching

async function match() {
  if (running) return;
  const refusal = photos.length ? limits && tooMuch(limits, idsBlob().size) : "Add a photo first.";
  if (refusal) {
    say(element("photos-error"), refusal);
    element("choose").focus();
    return;
  }
  if (!idCount()) return idsError("Expected one id a line, found none: type or paste them.");
  idsError("");
  const given = { photos: [...photos], ids: ids.value };
  const body = form(given.photos);
  body.append("candidates", idsBlob(), "ids");
  showWaiting(given.photos);
  const answer = await send("v1/match", body, `Matching ${counted(given.photos.length, "photo")}`);
  if (answer) takeResults(JSON.parse(await answer.text()), given);
  else showAgain();
}

/** Show new results; what was set by hand before stays so where it can. */
function takeResults(found, given) {
  const before = results;
  const choices = new Map();
  results = { ...given, found, choices, saved: true };
  const candidates = new Set(Object.keys(found.missing));
  for (const { item_id } of found.matches) candidates.add(item_id);
  for (const [at, itemId] of before?.choices ?? []) {
    const now = given.photos.indexOf(before.photos[at]);
    if (now >= 0 && (itemId === null || candidates.has(itemId))) choices.set(now, itemId);
  }
  results.saved = choices.size === 0;
  if (before) release(before.photos);
  results.update = showResults(results, choose);
  element("status").textContent = headline(showRevised());
  const title = element("results-title");
  title.focus({ preventScroll: true });
  title.scrollIntoView();
}

function showAgain() {
  element("results").hidden = results === null;
  if (results === null) return;
  results.update = showResults(results, choose);
  showRevised();
}

function showRevised() {
  const document = revised(results.found, results.choices);
  results.update(document);
  showStale();
  return document;
}

/** Set a photo by hand: to an item, to none with null, back to the engine's answer with undefined. */
function choose(at, itemId) {
  const { found, choices } = results;
  choices.delete(at); // the latest is last
  if (itemId !== undefined) {
    choices.set(at, itemId);
  } else {
    // Its item may be with a photo that was set by hand: that one is taken back then.
    const own = found.matches[at].item_id;
    for (const [holder, other] of own === null ? [] : [...choices].reverse()) {
      if (revised(found, choices).matches[at].item_id === own) break;
      if (other === own) choices.delete(holder);
    }
  }
  results.saved = choices.size === 0;
  const document = showRevised();
  const now = document.matches[at];
  const said = now.item_id === null ? now.status : shown(now.item_id);
  element("status").textContent = `Photo ${at + 1}: ${said}. ${headline(document)}`;
}

// Files

function download(filename, type, text) {
  const document = revised(results.found, results.choices);
  const names = results.photos.map((photo) => photo.name);
  save(filename, new Blob([text(named(document, names))], { type }));
  results.saved = true;
}

async function report() {
  if (running) return;
  const body = form(results.photos);
  const document = JSON.stringify(revised(results.found, results.choices));
  body.append("matches", new Blob([document], { type: "application/json" }), "matches");
  const answer = await send("v1/report", body, "Drawing the report");
  if (!answer) return;
  save("report.html", answer);
  results.saved ||= document === JSON.stringify(revised(results.found, results.choices));
  status("The report is saved.");
}

// What the user does

watchPhotos(givenChanged, () => results?.photos ?? []);
ids.addEventListener("input", () => {
  idsError("");
  givenChanged();
});
element("ids-file").addEventListener("change", ({ target }) => {
  if (target.files.length) openList(target.files[0]);
  target.value = "";
});
element("match").addEventListener("click", match);
element("cancel").addEventListener("click", () => {
  running?.abort();
  element("match").focus();
});
element("csv").addEventListener("click", () => download("matches.csv", "text/csv", csvText));
element("json").addEventListener("click", () =>
  download("matches.json", "application/json", jsonText),
);
element("report").addEventListener("click", report);
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  if (element("token-dialog").open) return;
  event.preventDefault(); // of what has the focus
  match();
});
document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (!files.length) return;
  event.preventDefault();
  takeFiles(files);
});
document.addEventListener("dragover", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault(); // a file that is dropped would take the place of the page
  document.body.classList.add("over");
});
for (const event of ["dragleave", "drop"]) {
  document.addEventListener(event, () => document.body.classList.remove("over"));
}
document.addEventListener("drop", async (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  takeFiles(await filesDropped(event.dataTransfer));
});
window.addEventListener("beforeunload", (event) => {
  if (results && !results.saved) event.preventDefault();
});

givenChanged();
askIndex().catch(failed);
