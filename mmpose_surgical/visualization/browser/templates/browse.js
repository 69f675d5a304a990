'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const $ = id => document.getElementById(id);
const marks = $('marks'), stage = $('stage'), filters = $('filters');
const layers = Object.fromEntries([...document.querySelectorAll('[data-layer]')].map(box => [box.dataset.layer, box]));
const UNKNOWN_RATE = 2;  // pictures in a second where a video has no frame rate, or only single pictures
let shown = data.clips, clip = null, at = 0, timer = null, remembering = null;

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}
function figure(tag, attributes, text = '') {
  const node = document.createElementNS(marks.namespaceURI, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.textContent = text;
  return node;
}
const plural = (count, word) => `${count} ${word}${count === 1 ? '' : 's'}`;
const address = (of, frame) => `#${of.kind}=${of.id}&frame=${frame.number}`;
const firstAnnotated = of => Math.max(0, of.frames.findIndex(frame => frame.annotated));

function thumbnail(frame) {
  return !frame || frame.picture === null ? element('span', {className: 'blank', textContent: 'no picture'})
    : element('img', {src: data.pictures[frame.picture], alt: '', decoding: 'async'});
}
function centre(list, item) {
  list.scrollTo({top: item.offsetTop - (list.clientHeight - item.offsetHeight) / 2,
    left: item.offsetLeft - (list.clientWidth - item.offsetWidth) / 2});
}

// -- the list ---------------------------------------------------------------------------------------------------
for (const of of data.clips) {
  const start = firstAnnotated(of), found = of.problems.length + of.more_problems;
  const faults = of.frames.filter(frame => frame.errors.length).length;
  of.troubles = [found && plural(found, 'problem'), faults && `errors in ${plural(faults, 'frame')}`].filter(Boolean);
  const best = of.frames[start].picture === null ? of.frames.find(frame => frame.picture !== null) : of.frames[start];
  const span = of.kind === 'clip' ? `frames ${of.first} to ${of.last}` : `frame ${of.frames[start].number}`;
  const words = element('span', {className: 'words'}, element('strong', {textContent: of.video}),
    element('span', {textContent: `${of.actions.join(', ')}, ${span}`}),
    element('span', {className: 'quiet', textContent: `${of.split}, ${of.annotated} annotated`}),
    element('span', {className: 'warning', textContent: of.troubles.join(', ')}));
  of.card = element('li', {}, element('a', {href: address(of, of.frames[start])}, thumbnail(best), words));
  $('clips').append(of.card);
}

function filter() {
  const chosen = Object.fromEntries(new FormData(filters));
  const text = chosen.text.trim().toLowerCase();
  shown = data.clips.filter(of => (!chosen.actions || of.actions.includes(chosen.actions))
    && (!chosen.source || of.source === chosen.source) && (!chosen.split || of.split === chosen.split)
    && (!chosen.problems || (chosen.problems === 'with') === of.troubles.length > 0)
    && of.video.toLowerCase().includes(text));
  for (const of of data.clips) of.card.hidden = !shown.includes(of);
  $('count').textContent = [`${shown.length} of ${plural(data.clips.length, 'clip')}`,
    plural(shown.reduce((sum, of) => sum + of.annotated, 0), 'annotated picture'),
    `${shown.filter(of => of.troubles.length).length} with problems`].join(', ');
  $('viewer').hidden = !shown.length;
  if (shown.length && !shown.includes(clip)) openClip(shown[0]);
}
filters.addEventListener('input', filter);
filters.addEventListener('reset', () => setTimeout(filter));  // once the fields are empty
filters.addEventListener('submit', event => event.preventDefault());

// -- the viewer -------------------------------------------------------------------------------------------------
function openClip(of, place = firstAnnotated(of)) {
  if (of !== clip) {
    pause();
    clip?.card.firstChild.setAttribute('aria-current', 'false');
    clip = of;
    clip.card.firstChild.setAttribute('aria-current', 'true');
    centre($('clips'), clip.card);
    $('title').textContent = `${clip.video}: ${clip.actions.join(', ')}`;
    const rate = !clip.dense ? 'single pictures, not adjacent in time'
      : clip.fps ? `${clip.fps} frames/s` : 'no frame rate';
    $('facts').textContent = [`source ${clip.source}`, `split ${clip.split}`, `${clip.kind} ${clip.id}`,
      clip.kind === 'clip' ? `frames ${clip.first} to ${clip.last}` : 'in no clip', rate].join('; ');
    $('strip').replaceChildren(...clip.frames.map((frame, index) => element('li', {},
      element('a', {href: address(clip, frame), onclick: event => { event.preventDefault(); pause(); show(index); }},
        thumbnail(frame), element('span', {textContent: frame.number}), element('span', {className: 'hidden'})))));
    $('troubles').hidden = !clip.problems.length;
    $('problems').replaceChildren(...clip.problems.map(problemItem));
    if (clip.more_problems) $('problems').append(element('li', {textContent: `and ${clip.more_problems} more`}));
    $('play').disabled = $('step').disabled = $('back').disabled = clip.frames.length < 2;
  }
  show(place);
}
function problemItem(problem) {
  const place = clip.frames.findIndex(frame => frame.number === problem.frame);
  const link = place < 0 ? problem.where
    : element('a', {href: address(clip, clip.frames[place]), textContent: problem.where});
  const title = `${problem.harmless ? 'Remark' : 'Problem'}: ${problem.title}. `;
  return element('li', {}, element('strong', {textContent: title}), link, `: ${problem.what}. `,
    element('span', {className: 'quiet', textContent: `Fix: ${problem.fix}.`}));
}

function show(place) {
  at = place;
  const frame = clip.frames[at], [width, height] = frame.size;
  stage.style.setProperty('--ratio', width / height);
  stage.classList.toggle('empty', frame.picture === null);
  const picture = $('picture');
  picture.hidden = frame.picture === null;
  if (frame.picture !== null) picture.src = data.pictures[frame.picture];
  picture.alt = `Frame ${frame.number} of ${clip.video}`;
  $('errors').hidden = !frame.errors.length;
  $('errors').replaceChildren(...frame.errors.map(textContent => element('li', {textContent})));
  $('caption').setAttribute('aria-live', timer === null ? 'polite' : 'off');
  $('caption').textContent = `Frame ${frame.number} (${at + 1} of ${clip.frames.length} shown): ${wordsOf(frame)}`;
  $('tools').replaceChildren(...(frame.tools || []).map(toolRow));
  $('tools').closest('.scroll').hidden = !frame.tools?.length;
  markStrip(frame);
  draw();
  remember();
}
function wordsOf(frame) {
  if (frame.image === undefined) return 'not listed';
  const idle = frame.annotated && !frame.tools.some(tool => tool.active);
  return `image ${frame.image}, ${frame.annotated ? 'annotated' : 'not annotated'}`
    + (idle ? ', nothing acts' : '') + (frame.about && `; ${frame.about}`);
}
// The address follows when one stays: browsers refuse to change it at the pace of a video.
function remember() {
  clearTimeout(remembering);
  remembering = setTimeout(() => history.replaceState(null, '', address(clip, clip.frames[at])), 300);
}
function toolRow(tool) {
  const points = tool.points.map(([name, , x, y, v]) => `${name} (${x}, ${y})${v === 1 ? ' hidden' : ''}`);
  return element('tr', {}, element('th', {scope: 'row', textContent: tool.tool}),
    element('td', {textContent: tool.active ? tool.action ?? 'yes' : 'no'}),
    element('td', {textContent: points.join(', ') || 'none'}));
}

function markStrip(frame) {
  const counts = new Map();
  for (const number of frame.window || []) counts.set(number, (counts.get(number) || 0) + 1);
  [...$('strip').children].forEach((item, index) => {
    const link = item.firstChild, of = clip.frames[index], times = counts.get(of.number) || 0;
    link.classList.toggle('annotated', of.annotated === true);
    link.classList.toggle('inside', times > 0);
    link.setAttribute('aria-current', String(index === at));
    link.children[1].textContent = of.number + (times > 1 ? ` ×${times}` : '');
    link.children[2].textContent = (of.annotated ? ', annotated' : '') + (times ? ', in the window' : '');
  });
  centre($('strip'), $('strip').children[at]);
  $('window').textContent = windowWords(frame, counts.size);
}
function windowWords(frame, different) {
  if (frame.no_window) return `No window: ${frame.no_window}.`;
  if (!different) return '';
  const cut = clip.dense ? 'it is cut at an end of the clip' : 'a single picture is repeated';
  return `Window of ${plural(frame.window.length, 'frame')}: ${frame.window.join(', ')}`
    + (different < frame.window.length ? `; ${cut}` : '');
}

// -- marks: in pixels of the picture, of the same size on every screen -----------------------------------------------
function draw() {
  const frame = clip.frames[at], [width, height] = frame.size;
  const px = width / (stage.clientWidth || width);
  marks.setAttribute('viewBox', `-0.5 -0.5 ${width} ${height}`);  // the middle of the first pixel is (0, 0)
  marks.setAttribute('preserveAspectRatio', 'none');
  const tools = [...(frame.tools || [])].sort((a, b) => a.active - b.active);
  const drawn = [], names = [], r = 6 * px;
  const taken = tools.flatMap(tool => tool.points.map(([, , x, y]) => [x - r, y - r, x + r, y + r]));
  for (const tool of tools) {
    const idle = tool.active ? '' : ' idle';
    if (layers.masks.checked && tool.path) {
      drawn.push(figure('path', {d: tool.path, class: `mask${idle}`, 'stroke-width': 1.5 * px}));
    }
    if (layers.points.checked) drawn.push(...pointFigures(tool, idle, px));
    if (layers.names.checked) names.push(...nameFigure(tool, idle, frame.size, px, taken));
  }
  marks.replaceChildren(...drawn, ...names);
}
function pointFigures(tool, idle, px) {
  const anchor = tool.points.find(point => point[1] === 'anchor');
  const limbs = !anchor ? [] : tool.points.filter(point => point !== anchor).map(([, , x, y]) =>
    figure('line', {x1: x, y1: y, x2: anchor[2], y2: anchor[3], class: 'limb', 'stroke-width': px}));
  return [...limbs, ...tool.points.flatMap(([, landmark, x, y, v]) => {
    const circle = {cx: x, cy: y, r: 5 * px};
    if (v === 2) return [figure('circle', {...circle, class: `point ${landmark}${idle}`, 'stroke-width': 1.2 * px})];
    return [figure('circle', {...circle, class: 'rim', 'stroke-width': 4.5 * px}),
      figure('circle', {...circle, class: `point v1 ${landmark}${idle}`, 'stroke-width': 2.2 * px})];
  })];
}
function nameFigure(tool, idle, [width, height], px, taken) {
  const numbers = tool.points.length ? null : tool.path.match(/-?\d+/g);
  if (!tool.points.length && !numbers) return [];
  const point = tool.points.find(point => point[1] === 'anchor') || tool.points[0];
  const [x, y] = point ? point.slice(2, 4) : numbers.map(Number);
  const text = tool.active ? `${tool.tool}, ${tool.action ?? 'acts'}` : tool.tool;
  // Beside the point, above or below: where it hides the fewest points and other names, and leaves the picture least.
  const size = 13 * px, length = 0.56 * size * text.length;
  const places = [0, -1.5, 1.5].flatMap(row => [false, true].map(left => {
    const start = left ? x - 10 * px - length : x + 10 * px, middle = y + row * size;
    return [start, middle - size / 2, start + length, middle + size / 2];
  }));
  const cost = ([x0, y0, x1, y1]) => 3 * (x0 < 0 || y0 < 0 || x1 > width || y1 > height)
    + taken.filter(([u0, v0, u1, v1]) => x0 < u1 && u0 < x1 && y0 < v1 && v0 < y1).length;
  const best = places.reduce((one, other) => cost(other) < cost(one) ? other : one);
  taken.push(best);
  return [figure('text', {x: best[0], y: best[3] - size / 5, class: `name${idle}`, 'font-size': size,
    'stroke-width': 3 * px}, text)];
}
new ResizeObserver(() => { if (clip) draw(); }).observe(stage);
Object.values(layers).forEach(box => box.addEventListener('change', draw));

// -- moving -----------------------------------------------------------------------------------------------------
function pause() {
  clearTimeout(timer);
  timer = null;
  $('play').textContent = 'Play';
}
function play() {
  const frames = clip.frames, next = (at + 1) % frames.length;
  // A clip that was thinned out keeps its pace.
  const gap = clip.dense && clip.fps ? Math.max(frames[next].number - frames[at].number, 1) / clip.fps
    : 1 / UNKNOWN_RATE;
  $('play').textContent = 'Pause';
  timer = setTimeout(() => { show(next); play(); }, 1000 * gap / $('speed').value);
}
function toggle() {
  if (timer !== null) pause();
  else if (clip.frames.length > 1) play();
}
function step(by) {
  pause();
  show(Math.min(Math.max(at + by, 0), clip.frames.length - 1));
}
function stepAnnotated(by) {
  pause();
  for (let place = at + by; place >= 0 && place < clip.frames.length; place += by) {
    if (clip.frames[place].annotated) return show(place);
  }
}
function stepClip(by) {
  const next = shown[shown.indexOf(clip) + by];
  if (next) openClip(next);
}
const moves = {play: toggle, step: () => step(1), back: () => step(-1), next: () => stepAnnotated(1),
  previous: () => stepAnnotated(-1)};
for (const [id, move] of Object.entries(moves)) $(id).addEventListener('click', move);
const keys = {' ': toggle, ArrowRight: moves.step, ArrowLeft: moves.back, n: moves.next, p: moves.previous,
  ArrowDown: () => stepClip(1), ArrowUp: () => stepClip(-1)};
addEventListener('keydown', event => {
  const takesKeys = event.key === ' ' ? 'input, select, button, summary' : 'input:not([type=checkbox]), select';
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.(takesKeys)) return;
  if (!keys[event.key] || !shown.length) return;
  event.preventDefault();
  keys[event.key]();
});

// Links such as #clip=3&frame=12 or #image=7 lead to a place; without one, the first clip is shown.
function follow() {
  const words = new URLSearchParams(location.hash.slice(1));
  const found = data.clips.find(of => words.get(of.kind) === String(of.id));
  if (!found) return false;
  if (!shown.includes(found)) {
    filters.reset();
    shown = data.clips;
  }
  const place = found.frames.findIndex(frame => String(frame.number) === words.get('frame'));
  openClip(found, place < 0 ? undefined : place);
  return true;
}
addEventListener('hashchange', () => { pause(); follow(); });
follow();
filter();
