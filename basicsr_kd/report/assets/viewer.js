// Two pictures of one photo under a divider, moved and enlarged together. Lengths are CSS pixels of the stage;
// at zoom 1 a pixel of a picture is one of them.
const data = JSON.parse(document.getElementById('data').textContent);
const section = document.getElementById('photos');
const stage = section.querySelector('.stage');
const divider = section.querySelector('.divider');
const choices = { photo: section.querySelector('#photo'), left: section.querySelector('#left'),
                  right: section.querySelector('#right') };
const sides = ['left', 'right'];
const strip = [...section.querySelectorAll('.strip a')];
const state = { photo: 0, left: '', right: '', split: 0.5, zoom: 1, x: 0, y: 0 };

section.hidden = false;
data.photos.forEach((photo, index) => choices.photo.add(new Option(photo.name, index)));
const methods = Object.keys(data.photos[0].figures);
[state.left, state.right] = [methods[0], methods.at(-1)];
if (methods.length === 1)
  state.left = Object.keys(data.photos[0].pictures).find((label) => label !== methods[0]) ?? methods[0];

function open(index) {
  const before = data.photos[state.photo];
  const photo = data.photos[index];
  state.photo = index;
  for (const side of sides) {
    const labels = Object.keys(photo.pictures);
    if (!labels.includes(state[side])) state[side] = labels.at(-1);
    choices[side].replaceChildren(...labels.map((label) => new Option(label, label)));
  }
  stage.style.setProperty('--height', `${photo.height}px`);
  if (before === photo || before.width !== photo.width || before.height !== photo.height) centre(1);
  strip.forEach((link, place) => { link.ariaCurrent = place === index ? 'true' : null; });
  const link = strip[index];
  link.parentNode.scrollLeft = link.offsetLeft - link.parentNode.offsetLeft
    - (link.parentNode.clientWidth - link.offsetWidth) / 2;
  show();
}

// Both pictures change at once, when both are there; what was asked for in between is dropped.
let asked = 0;
async function show() {
  const turn = ++asked;
  const photo = data.photos[state.photo];
  choices.photo.value = state.photo;
  for (const side of sides) choices[side].value = state[side];
  tell(photo);
  const images = sides.map((side) => {
    const image = new Image(photo.width, photo.height);
    image.alt = `${photo.name}: ${state[side]}`;
    image.className = state[side] === 'LR' ? 'lr' : '';
    image.src = photo.pictures[state[side]];
    return image;
  });
  const faults = (await Promise.all(images.map((image) => image.decode().then(() => '', () => image.src)))).filter(Boolean);
  if (turn !== asked) return;
  sides.forEach((side, index) => {
    stage.querySelector(`.layer.${side}`).replaceChildren(images[index]);
    stage.querySelector(`span.${side}`).textContent = state[side];
  });
  const fault = stage.querySelector('.fault');
  fault.hidden = !faults.length;
  fault.textContent = `Not to be read: ${faults.join(', ')}`;
  place();
}

function place() {
  const photo = data.photos[state.photo];
  const { clientWidth, clientHeight } = stage;
  const within = (value, length, room) => (length <= room ? (room - length) / 2 : Math.min(0, Math.max(room - length, value)));
  state.x = within(state.x, photo.width * state.zoom, clientWidth);
  state.y = within(state.y, photo.height * state.zoom, clientHeight);
  for (const image of stage.querySelectorAll('.layer img'))
    image.style.transform = `translate(${state.x}px, ${state.y}px) scale(${state.zoom})`;
  stage.style.setProperty('--split', `${100 * state.split}%`);
  stage.classList.toggle('enlarged', state.zoom > 1);
  stage.classList.toggle('larger', photo.width * state.zoom > clientWidth || photo.height * state.zoom > clientHeight);
  divider.ariaValueNow = Math.round(100 * state.split);
  section.querySelector('#full').textContent = `${Math.round(100 * state.zoom)} %`;
}

function centre(zoom) {
  const photo = data.photos[state.photo];
  state.zoom = zoom;
  state.x = (stage.clientWidth - photo.width * zoom) / 2;
  state.y = (stage.clientHeight - photo.height * zoom) / 2;
  place();
}

function fit() {
  const photo = data.photos[state.photo];
  centre(Math.min(stage.clientWidth / photo.width, stage.clientHeight / photo.height));
}

// What lies at a point of the stage stays there.
function zoomTo(zoom, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
  zoom = Math.min(16, Math.max(0.05, zoom));
  state.x = x - (x - state.x) * (zoom / state.zoom);
  state.y = y - (y - state.y) * (zoom / state.zoom);
  state.zoom = zoom;
  place();
}

function split(share) {
  state.split = Math.min(1, Math.max(0, share));
  place();
}

function choose(side, label) {
  if (!(label in data.photos[state.photo].pictures)) return;
  state[side] = label;
  show();
}

function next(side) {
  const labels = Object.keys(data.photos[state.photo].pictures);
  choose(side, labels[(labels.indexOf(state[side]) + 1) % labels.length]);
}

// The figures of both, the better one bold.
function tell(photo) {
  const row = (tag, ...texts) => {
    const line = document.createElement('tr');
    line.append(...texts.map((text, index) => {
      const cell = document.createElement(index ? tag : 'th');
      cell.textContent = text;
      return cell;
    }));
    return line;
  };
  const lines = [row('th', photo.name, state.left, state.right)];
  data.metrics.forEach((metric, index) => {
    const texts = sides.map((side) => photo.figures[state[side]]?.[index] || '-');
    if (texts.every((text) => text === '-')) return;
    const line = row('td', `${metric.title} ${metric.arrow}`, ...texts);
    const [a, b] = texts.map((text) => distance(metric, text));
    if (a < b) line.cells[1].className = 'best';
    if (b < a) line.cells[2].className = 'best';
    lines.push(line);
  });
  for (const cost of ['parameters', 'time']) {
    const texts = sides.map((side) => data.costs[state[side]]?.[cost] ?? '-');
    if (texts.some((text) => text !== '-')) lines.push(row('td', cost, ...texts));
  }
  section.querySelector('#figures').replaceChildren(...lines);
}

// From what would be best: less is better.
function distance(metric, text) {
  const value = text === '∞' ? Infinity : Number(text);
  if (metric.best === 'high') return -value;
  return metric.best === 'low' ? value : Math.abs(value - metric.best);
}

choices.photo.addEventListener('change', () => open(Number(choices.photo.value)));
for (const side of sides) choices[side].addEventListener('change', () => choose(side, choices[side].value));
section.querySelector('#in').addEventListener('click', () => zoomTo(state.zoom * 1.5));
section.querySelector('#out').addEventListener('click', () => zoomTo(state.zoom / 1.5));
section.querySelector('#full').addEventListener('click', () => centre(1));
section.querySelector('#fit').addEventListener('click', fit);
strip.forEach((link, index) => link.addEventListener('click', (event) => {
  event.preventDefault();
  open(index);
}));
for (const link of document.querySelectorAll('.plot a[href]'))
  link.addEventListener('click', () => choose('left', link.dataset.method)); // and the browser goes to the photos
window.addEventListener('resize', place);

// One pointer moves the divider or the picture, two change its size.
const pointers = new Map();
stage.addEventListener('pointerdown', (event) => {
  stage.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, divides: event.target === divider });
});
stage.addEventListener('pointermove', (event) => {
  const pointer = pointers.get(event.pointerId);
  if (!pointer) return;
  const box = stage.getBoundingClientRect();
  const others = [...pointers.values()].filter((other) => other !== pointer);
  if (others.length === 1) {
    const apart = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);
    const now = { x: event.clientX, y: event.clientY };
    const factor = apart(now, others[0]) / Math.max(1, apart(pointer, others[0]));
    zoomTo(state.zoom * factor, (now.x + others[0].x) / 2 - box.left, (now.y + others[0].y) / 2 - box.top);
  } else if (pointer.divides) {
    split((event.clientX - box.left) / box.width);
  } else {
    state.x += event.clientX - pointer.x;
    state.y += event.clientY - pointer.y;
    place();
  }
  [pointer.x, pointer.y] = [event.clientX, event.clientY];
});
for (const end of ['pointerup', 'pointercancel']) stage.addEventListener(end, (event) => pointers.delete(event.pointerId));
stage.addEventListener('wheel', (event) => {
  if (!event.ctrlKey) return; // the wheel alone scrolls the page
  event.preventDefault();
  const box = stage.getBoundingClientRect();
  zoomTo(state.zoom * Math.exp(-event.deltaY / 200), event.clientX - box.left, event.clientY - box.top);
}, { passive: false });

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches('select, input')) return;
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const digit = /^Digit([1-9])$/.exec(event.code);
  const actions = { '[': () => next('left'), ']': () => next('right'), '+': () => zoomTo(state.zoom * 1.5),
                    '-': () => zoomTo(state.zoom / 1.5), 0: () => centre(1), f: fit,
                    s: () => { [state.left, state.right] = [state.right, state.left]; show(); } };
  if (step && event.target === divider) split(state.split + step / 50);
  else if (step) open((state.photo + step + data.photos.length) % data.photos.length);
  else if (digit) choose(event.shiftKey ? 'right' : 'left', Object.keys(data.photos[state.photo].pictures)[digit[1] - 1] ?? '');
  else if (actions[event.key]) actions[event.key]();
  else return;
  event.preventDefault();
});

open(0);
