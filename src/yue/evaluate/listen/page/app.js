// The page of a listening test: asks the server for a pair, plays it, sends the votes.
// Texts from the server only ever become text, never markup.

import { Player } from "./player.js";

const $ = (id) => document.getElementById(id);
const SONGS = ["A", "B"];
const STEP = 5; // seconds of J and L
const SAVE_EVERY = 3000; // ms

const state = {
  about: null, token: null, view: null, player: null, context: null, ready: false, sending: false,
  retry: null, saved: 0,
};

// ---- The server -----------------------------------------------------------------------------

async function ask(path, body) {
  const options = { headers: state.token ? { "X-Rater": state.token } : {} };
  if (body !== undefined) {
    options.method = "POST";
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let reply;
  try {
    reply = await fetch(path, options);
  } catch {
    throw new Error("The server cannot be reached. Is the network there?");
  }
  const value = await reply.json();
  if (!reply.ok) throw new Error(value.error);
  return value;
}

// Run something that may fail; a failure is shown with a button that tries it again.
async function attempt(action) {
  $("alert").hidden = true;
  try {
    await action();
  } catch (error) {
    $("alert-text").textContent = error.message;
    state.retry = () => attempt(action);
    $("alert").hidden = false;
  }
}

// ---- What is kept on this device ------------------------------------------------------------

const place = () => `yue-listen:${state.about.test}`;
const draftKey = () => `${place()}:${state.view.trial.id}`;

function stored(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null;
  }
}

function store(key, value) {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, JSON.stringify(value));
  } catch { /* private windows: then nothing is kept here */ }
}

function saveDraft() {
  if (!state.player || !state.view?.trial) return;
  store(draftKey(), {
    heard: state.player.heard, answers: answers(), comment: $("comment").value,
  });
  state.saved = performance.now();
}

// ---- Sections of the page -------------------------------------------------------------------

function show(section) {
  for (const name of ["intro", "trial", "done"]) $(name).hidden = name !== section;
  window.scrollTo(0, 0);
  $(`${section}-title`).focus({ preventScroll: true });
}

async function start() {
  state.about = await ask("api/about");
  document.title = $("title").textContent = state.about.title;
  state.token = location.hash.slice(1) || stored(place());
  if (state.token) {
    state.view = await ask("api/session");
    if (!state.view.trial) return finish();
    if (state.view.done) {
      $("intro-title").textContent = "Welcome back";
      $("begin").textContent = "Go on";
    }
  }
  const { pairs, minutes } = state.about;
  $("intro-pairs").textContent = `${state.view?.total ?? pairs} pairs of songs`;
  $("intro-minutes").textContent = minutes > 1 ? `It takes about ${minutes} minutes.` : "";
  showProgress();
  show("intro");
}

// A click or a key: only then may a page make sound.
async function begin() {
  if (!state.token) {
    state.token = (await ask("api/join", {})).token;
    store(place(), state.token);
  }
  history.replaceState(null, "", `#${state.token}`);
  store(place(), state.token);
  state.context ??= new AudioContext({ latencyHint: "interactive" });
  await state.context.resume();
  state.view = await ask("api/session");
  await next();
}

function finish() {
  showProgress();
  show("done");
}

async function next() {
  if (!state.view.trial) return finish();
  const { trial, done, total } = state.view;
  state.player?.pause();
  state.player = null;
  state.ready = false;
  showProgress();
  $("trial-title").textContent = `Pair ${done + 1} of ${total}`;
  showPrompt(trial.prompt);
  showQuestions();
  show("trial");
  refresh();
  const buffers = await Promise.all(trial.songs.map((song) => load(song.url)));
  const draft = stored(draftKey());
  state.player = new Player(state.context, buffers, draft?.heard ?? [[], []]);
  state.player.onend = refresh;
  $("seek").max = state.player.longest;
  restore(draft);
  state.ready = true;
  refresh();
}

async function load(url) {
  let data;
  try {
    const reply = await fetch(url);
    if (!reply.ok) throw new Error();
    data = await reply.arrayBuffer();
  } catch {
    throw new Error("A song could not be loaded. Is the network there?");
  }
  try {
    return await state.context.decodeAudioData(data);
  } catch {
    throw new Error("A song could not be decoded by this browser. Please try another one.");
  }
}

function showProgress() {
  const view = state.view;
  $("progress").hidden = !view;
  if (!view) return;
  $("progress-bar").max = view.total;
  $("progress-bar").value = view.done;
  $("progress-text").textContent = `${view.done} of ${view.total} pairs done`;
}

function showPrompt({ genres, lyrics }) {
  $("prompt").hidden = !genres && !lyrics;
  $("genres").textContent = genres;
  $("genres").hidden = !genres;
  $("lyrics").textContent = lyrics;
  $("lyrics").hidden = !lyrics;
  $("lyrics").scrollTop = 0;
}

function showQuestions() {
  $("comment").value = "";
  $("aspects").replaceChildren(...state.about.aspects.map(question));
}

function question(aspect) {
  const field = $("question").content.firstElementChild.cloneNode(true);
  const definition = field.querySelector(".definition");
  field.querySelector("legend").textContent = aspect.title;
  definition.textContent = aspect.definition;
  definition.id = `definition-${aspect.key}`;
  field.setAttribute("aria-describedby", definition.id);
  field.dataset.aspect = aspect.key;
  for (const input of field.querySelectorAll("input")) input.name = aspect.key;
  return field;
}

function restore(draft) {
  if (!draft) return;
  $("comment").value = draft.comment ?? "";
  for (const [key, answer] of Object.entries(draft.answers ?? {})) {
    const input = inputs().find((one) => one.name === key && one.value === answer);
    if (input) input.checked = true;
  }
}

// ---- Questions ------------------------------------------------------------------------------

const inputs = () => [...$("aspects").querySelectorAll("input")];
const fields = () => [...$("aspects").querySelectorAll("fieldset")];

function answers() {
  const given = inputs().filter((input) => input.checked);
  return Object.fromEntries(given.map((input) => [input.name, input.value]));
}

const answered = (field) => field.dataset.aspect in answers();
const missing = () => fields().filter((field) => !answered(field)).length;

// Seconds of a song that must still be heard before the vote.
function owed(song) {
  const length = state.view.trial.songs[song].seconds;
  const wanted = Math.max(0, state.about.heard * length - state.about.slack / 2);
  const heard = state.player ? state.player.secondsHeard(song) : 0;
  return Math.max(0, wanted - heard);
}

// Answer the question that has the focus, or the first open one, and go on to the next.
function answer(value) {
  if (!mayVote()) return;
  const all = fields();
  const field = all.find((one) => one.contains(document.activeElement))
    ?? all.find((one) => !answered(one)) ?? all[0];
  const input = [...field.querySelectorAll("input")].find((one) => one.value === value);
  input.checked = true;
  changed(); // first: the button takes the focus only once it is enabled
  const open = all.find((one) => !answered(one));
  (open ? open.querySelector("input") : $("vote")).focus();
}

function changed() {
  saveDraft();
  refresh();
}

const mayVote = () => state.ready && SONGS.every((_, song) => owed(song) === 0);

async function vote() {
  if (state.sending || !mayVote() || missing()) return;
  state.sending = true;
  refresh();
  try {
    state.player.note();
    const key = draftKey();
    state.view = await ask("api/vote", {
      trial: state.view.trial.id, answers: answers(), comment: $("comment").value,
      heard: SONGS.map((_, song) => state.player.secondsHeard(song)),
    });
    store(key, null);
  } finally {
    state.sending = false;
    refresh();
  }
  await next();
}

// ---- Playing --------------------------------------------------------------------------------

function toggle() {
  if (!state.ready) return;
  const player = state.player;
  if (player.playing) player.pause();
  else {
    if (player.ended) player.seek(player.firstGap(player.active) ?? 0);
    state.context.resume();
    player.play();
  }
  changed();
}

function select(song) {
  if (!state.ready) return;
  const player = state.player;
  const stopped = player.ended;
  player.select(song);
  if (stopped || player.ended) {
    player.seek(player.firstGap(song) ?? 0);
    state.context.resume();
    player.play();
  }
  changed();
}

function seek(position) {
  if (!state.ready) return;
  state.player.seek(position);
  changed();
}

function toUnheard() {
  if (!state.ready) return;
  const player = state.player;
  const song = [player.active, 1 - player.active].find((one) => owed(one) > 0);
  if (song === undefined) return;
  player.select(song);
  player.seek(player.firstGap(song) ?? 0);
  state.context.resume();
  player.play();
  changed();
}

// ---- Drawing --------------------------------------------------------------------------------

const clock = (seconds) => {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
};

function say(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

function refresh() {
  if (!state.view?.trial) return;
  drawPlayer();
  const open = mayVote();
  $("questions").classList.toggle("locked", !open);
  for (const field of fields()) field.disabled = !open || state.sending;
  $("comment").disabled = !open || state.sending;
  $("vote").disabled = !open || state.sending || missing() > 0;
  say("missing", !open ? "The questions open once you have heard both songs to the end."
    : missing() ? `${missing()} of ${fields().length} questions are still open.` : "");
}

function drawPlayer() {
  const { player, ready } = state;
  const position = player ? Math.min(player.position, player.longest) : 0;
  for (const song of [0, 1]) drawSong(song, position);
  for (const id of ["play", "seek", "song-0", "song-1"]) $(id).disabled = !ready;
  say("play", player?.playing ? "Pause" : "Play");
  if (document.activeElement !== $("seek") || player?.playing) $("seek").value = position;
  $("seek").setAttribute("aria-valuetext", clock(position));
  say("time", player ? `${clock(position)} / ${clock(player.length)}` : "0:00");
  say("status", ready ? advice() : "Loading both songs …");
}

function drawSong(song, position) {
  const button = $(`song-${song}`);
  const { player } = state;
  const active = (player?.active ?? 0) === song;
  button.setAttribute("aria-pressed", String(active));
  button.classList.toggle("playing", Boolean(player?.playing) && active);
  const left = Math.ceil(owed(song));
  say(`left-${song}`, !player ? "" : left ? `${clock(left)} left` : "heard");
  if (!player) {
    button.querySelector(".heard").replaceChildren();
    return;
  }
  const length = player.buffers[song].duration;
  const share = (seconds) => `${Math.min(100, (100 * seconds) / length)}%`;
  button.querySelector(".track").style.width = `${(100 * length) / player.longest}%`;
  button.querySelector(".head").style.left = share(position);
  button.querySelector(".heard").replaceChildren(...player.heard[song].map(([from, to]) => {
    const bar = document.createElement("span");
    bar.style.left = share(from);
    bar.style.width = share(to - from);
    return bar;
  }));
}

function advice() {
  const { player } = state;
  const waiting = [0, 1].filter((song) => owed(song) > 0);
  if (!waiting.length) return "Both heard. Listen again as you like, and vote.";
  if (player.playing) return waiting.includes(player.active) ? "" : `Now hear ${SONGS[waiting[0]]}.`;
  const heardAny = [0, 1].some((song) => player.secondsHeard(song) > 0);
  if (!heardAny) return "Play, and switch between A and B while it plays.";
  return `Still to hear: ${waiting.map((song) => SONGS[song]).join(" and ")}.`;
}

function animate() {
  const { player } = state;
  if (player?.playing) {
    player.tick();
    refresh();
    if (performance.now() - state.saved > SAVE_EVERY) saveDraft();
  }
}

// ---- Events ---------------------------------------------------------------------------------

const KEYS = {
  1: () => select(0), 2: () => select(1), " ": toggle, u: toUnheard,
  j: () => seek(state.player.position - STEP), l: () => seek(state.player.position + STEP),
  a: () => answer("A"), b: () => answer("B"), e: () => answer("="), "=": () => answer("="),
};

// Keys that the focused element needs itself are left to it.
function ownsKey(element, key) {
  if (element.matches("textarea")) return true;
  return key === " " && element.matches("button, summary, input[type=radio]:not(:checked)");
}

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || $("trial").hidden) return;
  const action = KEYS[event.key.toLowerCase()];
  if (!action || !state.ready || ownsKey(event.target, event.key)) return;
  event.preventDefault();
  if (!event.repeat || "jl".includes(event.key.toLowerCase())) action();
}

document.addEventListener("keydown", onKey);
window.addEventListener("pagehide", saveDraft);
$("begin").addEventListener("click", () => attempt(begin));
$("alert-retry").addEventListener("click", () => state.retry?.());
$("play").addEventListener("click", toggle);
$("seek").addEventListener("input", (event) => seek(Number(event.target.value)));
for (const song of [0, 1]) $(`song-${song}`).addEventListener("click", () => select(song));
$("aspects").addEventListener("change", changed);
$("comment").addEventListener("change", changed);
$("questions").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(vote);
});
setInterval(animate, 50);
attempt(start);
