// What is said of the photos once some were set by hand, and its files. Nothing here is on screen.

// As `embed match --format csv` has them.
export const COLUMNS = [
  ...["photo", "item_id", "status", "confidence", "score", "runner_up", "runner_up_score"],
  ...["margin", "none", "reason", "views", "unreadable"],
];
const ORDER = { unreadable: 0, unsure: 1, unknown: 2, matched: 3 };

/** The places of matches, the doubtful ones first. */
export function byDoubt(matches) {
  const doubt = (at) => [ORDER[matches[at].status], matches[at].confidence ?? 0];
  return [...matches.keys()].sort((one, other) => {
    const [a, b] = [doubt(one), doubt(other)];
    return a[0] - b[0] || a[1] - b[1];
  });
}

/** Each candidate with its pieces: those in photos, and those that are missing. */
export function piecesOf({ matches, missing }) {
  const pieces = new Map(Object.entries(missing));
  for (const { item_id } of matches) {
    if (item_id !== null) pieces.set(item_id, (pieces.get(item_id) ?? 0) + 1);
  }
  return pieces;
}

/**
 * A document of matches with what was set by hand, and `missing` counted anew.
 *
 * Pieces go to the latest choice first, then to the engine's answers, the surest first. Who gets
 * none has no item and is unsure.
 *
 * @param found - as the server answered.
 * @param choices - Map of places in `found.matches` to item ids or null, the latest last.
 */
export function revised(found, choices) {
  const left = piecesOf(found);
  const holders = new Map();
  const matches = found.matches.slice();
  const take = (itemId) => {
    const pieces = left.get(itemId) ?? 0;
    if (pieces) left.set(itemId, pieces - 1);
    return pieces > 0;
  };
  for (const [at, itemId] of [...choices].reverse()) {
    if (itemId !== null && !take(itemId)) {
      matches[at] = deprived(matches[at], holders.get(itemId));
    } else {
      matches[at] = byHand(matches[at], itemId);
      if (!holders.has(itemId)) holders.set(itemId, at);
    }
  }
  const others = [...matches.keys()].filter((at) => !choices.has(at) && matches[at].item_id !== null);
  others.sort((one, other) => (matches[other].confidence ?? 0) - (matches[one].confidence ?? 0));
  for (const at of others) {
    const itemId = matches[at].item_id;
    if (!take(itemId)) matches[at] = deprived(matches[at], holders.get(itemId));
  }
  return { matches, missing: Object.fromEntries([...left].filter(([, pieces]) => pieces)) };
}

// The numbers of the engine are about its own answer, so they go with it.
const NUMBERS = { confidence: null, score: null, runner_up: null, runner_up_score: null, margin: null };

function byHand(match, itemId) {
  const status = itemId === null ? "unknown" : "matched";
  const { score = null } = match.alternatives.find((other) => other.item_id === itemId) ?? {};
  return { ...match, ...NUMBERS, item_id: itemId, status, score, reason: "set by hand" };
}

function deprived(match, holder) {
  const reason = `its item was given to photo ${holder + 1} by hand`;
  return { ...match, ...NUMBERS, item_id: null, status: "unsure", reason };
}

/** The document with the user's own names of the photos. */
export function named(found, names) {
  const matches = found.matches.map((match, at) => ({ ...match, photo: names[at] }));
  return { ...found, matches };
}

/** The matches as CSV. */
export function csvText({ matches }) {
  const rows = [COLUMNS, ...matches.map((match) => COLUMNS.map((column) => match[column]))];
  return rows.map((row) => row.map(csvField).join(",") + "\n").join("");
}

function csvField(value) {
  const text = value === null ? "" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
