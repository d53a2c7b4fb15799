// Controls, pictures and numbers. The page hands all settings to the worker and shows what comes back.

import { PLAIN_THRESHOLD } from "./measures.js";
import { draw } from "./pictures.js";

const element = (id) => document.getElementById(id);
const [model, seed, numSteps, exactFirst, convention, label, editLabel] = [
  "model", "seed", "num-steps", "exact-first", "convention", "label", "edit-label",
].map(element);
const NAMES = Object.fromEntries(
  [...document.querySelectorAll("canvas")].map((canvas) => [canvas.id, canvas.getAttribute("aria-label")]),
);

let models = [];
let worker;
let job = { id: 0 };

const chosen = () => models[model.selectedIndex];
const grid = () => Object.keys(chosen().schedules).map(Number);
const steps = () => grid()[numSteps.value];

start().catch(fail);

async function start() {
  element("threshold").textContent = PLAIN_THRESHOLD;
  say("Loading");
  const response = await fetch("models.json");
  if (!response.ok) throw new Error("models.json is missing; build the page with: make site");
  models = (await response.json()).models;
  model.append(...models.map(({ name }) => new Option(name)));
  worker = new Worker("worker.js", { type: "module" });
  worker.onmessage = ({ data }) => data.id === job.id && RECEIVE[data.kind](data);
  worker.onerror = (event) => fail(new Error(event.message || "worker.js cannot be loaded"));
  adoptModel();
  listen();
  request();
}

function listen() {
  model.addEventListener("change", adoptModel);
  for (const slider of [numSteps, exactFirst]) slider.addEventListener("input", describe);
  const form = element("controls");
  form.addEventListener("change", request);
  form.addEventListener("submit", (event) => event.preventDefault());
  element("next-seed").addEventListener("click", () => set({ seed: (Number(seed.value) + 1) % (Number(seed.max) + 1) }));
  for (const button of document.querySelectorAll("[data-settings]")) {
    button.addEventListener("click", () => {
      set(JSON.parse(button.dataset.settings));
      form.scrollIntoView();
    });
  }
}

/** Fill the controls that depend on the model. */
function adoptModel() {
  const { classes, stands_for: standsFor } = chosen();
  element("stands-for").textContent = `stands for ${standsFor}`;
  for (const control of document.querySelectorAll(".classes")) control.hidden = !classes.length;
  const options = classes.map((name, number) => [name, number]);
  label.replaceChildren(...options.map(([name, number]) => new Option(name, number)));
  editLabel.replaceChildren(new Option("no edit", ""), ...options.map(([name, number]) => new Option(name, number)));
  numSteps.max = grid().length - 1;
  describe();
}

/** Take settings, by the ids of their controls, and compute. */
function set(settings) {
  const { model: name = model.value, "num-steps": wanted, ...others } = settings;
  if (name !== model.value) {
    model.value = name;
    adoptModel();
  }
  if (wanted) numSteps.value = grid().indexOf(wanted);
  describe(); // the largest number of exact steps follows T
  for (const [id, value] of Object.entries(others)) element(id).value = value;
  request();
}

/** Say in words what the sliders are at, and what follows from the settings. */
function describe() {
  const isTarget = convention.value === "target";
  exactFirst.max = steps();
  exactFirst.disabled = !isTarget;
  numSteps.setAttribute("aria-valuetext", `${steps()} steps`);
  exactFirst.setAttribute("aria-valuetext", `${exactFirst.value} of ${steps()} steps`);
  element("num-steps-shown").textContent = steps();
  element("exact-first-shown").textContent = isTarget ? exactFirst.value : 0;
  element("exact-note").textContent = isTarget ? `of ${steps()}` : "in the target convention only";
  element("convention-note").textContent =
    convention.value === chosen().convention ? "of the inversion; the model's own" : "of the inversion; not the model's own";
  element("seed-note").textContent =
    seed.value < chosen().noise_seeds ? "the same noise as in Python" : "not the noise of Python";
}

/** Hand the settings to the worker; a job that runs is given up. */
function request() {
  if (!seed.checkValidity() || seed.value === "") {
    say(`Seed must be a whole number from ${seed.min} to ${seed.max}`, true);
    return;
  }
  describe();
  const edits = chosen().classes.length > 0 && editLabel.value !== "";
  const exact = convention.value === "target" ? Number(exactFirst.value) : 0;
  job = {
    id: job.id + 1,
    model: chosen(),
    seed: Number(seed.value),
    numSteps: steps(),
    label: chosen().classes.length ? Number(label.value) : null,
    editLabel: edits ? Number(editLabel.value) : null,
    convention: convention.value,
    exactFirst: exact,
    began: performance.now(),
  };
  element("edits").hidden = !edits;
  if (edits) element("edit-title").textContent = `${label.selectedOptions[0].text} to ${editLabel.selectedOptions[0].text}`;
  for (const cell of document.querySelectorAll("[data-number]")) cell.textContent = ""; // of older settings
  document.body.dataset.state = "busy";
  worker.postMessage(job);
}

const RECEIVE = {
  doing({ what, evaluations, planned }) {
    if (what) say(what);
    if (planned !== undefined) element("bar").max = planned || 1;
    if (evaluations !== undefined) element("bar").value = evaluations;
  },
  picture: ({ name, values, shape, look }) => draw(element(name), values, shape, look),
  numbers({ numbers }) {
    for (const [name, value] of Object.entries(numbers)) {
      document.querySelector(`[data-number="${name}"]`).textContent = Number.isFinite(value) ? value.toFixed(3) : "–";
    }
    for (const canvas of document.querySelectorAll("canvas")) canvas.setAttribute("aria-label", spoken(canvas));
  },
  done({ evaluations }) {
    const seconds = ((performance.now() - job.began) / 1000).toFixed(1);
    element("bar").value = element("bar").max;
    say(evaluations ? `Done: ${evaluations} network evaluations in ${seconds} s` : "Done: nothing had to be computed again");
    document.body.dataset.state = "done";
  },
  failed: ({ message }) => fail(new Error(message)),
};

/** A picture's name and the numbers beneath it, for those who do not see the picture. */
function spoken(canvas) {
  const entries = [...canvas.parentElement.querySelectorAll("dt")];
  const numbers = entries.map((term) => `${term.textContent} ${term.nextElementSibling.textContent}`);
  return `${NAMES[canvas.id]}: ${numbers.join(", ")}`;
}

function say(text, isFailure = false) {
  element("status").textContent = text;
  element("status").classList.toggle("failed", isFailure);
}

function fail(error) {
  say(`This did not work: ${error.message}`, true);
  document.body.dataset.state = "failed";
}
