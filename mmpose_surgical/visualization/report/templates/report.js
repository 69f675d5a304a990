'use strict';
const hiddenMethods = new Set();
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// A row is shown if its method is and it holds the words of its table's filter.
function filterTable(table) {
  const box = document.querySelector(`[data-filter="${table.id}"]`);
  const words = (box ? box.value : '').toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  const rows = all('tr.row', table);
  for (const row of rows) {
    const text = `${row.parentNode.dataset.section} ${all('th, td:not(.number)', row).map(cell => cell.textContent).join(' ')}`;
    row.hidden = hiddenMethods.has(row.dataset.method) || !words.every(word => text.toLowerCase().includes(word));
    shown += !row.hidden;
  }
  for (const body of table.tBodies) body.hidden = all('tr.row', body).every(row => row.hidden);
  const status = document.querySelector(`[data-status="${table.id}"]`);
  if (status) status.textContent = shown < rows.length ? `${shown} of ${rows.length} rows` : '';
}

function sortTable(table, header) {
  const column = [...header.parentNode.children].indexOf(header);
  const number = header.classList.contains('number');
  // Numbers begin with the greatest; the third choice restores the order of the paper.
  const turns = number ? ['none', 'descending', 'ascending'] : ['none', 'ascending', 'descending'];
  const next = turns[(turns.indexOf(header.getAttribute('aria-sort')) + 1) % 3];
  all('th[aria-sort]', table).forEach(other => other.setAttribute('aria-sort', 'none'));
  header.setAttribute('aria-sort', next);
  const sign = next === 'ascending' ? 1 : -1;
  const value = row => number ? row.cells[column].dataset.value : row.cells[column].textContent.trim();
  for (const body of table.tBodies) {
    const rows = all('tr.row', body);
    rows.sort((a, b) => {
      if (next === 'none') return a.dataset.place - b.dataset.place;
      const [x, y] = [value(a), value(b)];
      if (number && (x === '' || y === '')) return (x === '') - (y === '');  // what is undefined comes last
      return sign * (number ? x - y : x.localeCompare(y, undefined, {numeric: true}));
    });
    body.append(...rows);
  }
}

for (const table of all('table.figures')) {
  all('tr.row', table).forEach((row, place) => { row.dataset.place = place; });
  for (const header of all('th[aria-sort]', table)) {
    header.querySelector('button').addEventListener('click', () => sortTable(table, header));
  }
}
for (const box of all('[data-filter]')) {
  box.addEventListener('input', () => filterTable(document.getElementById(box.dataset.filter)));
}
for (const box of all('[data-intervals]')) {
  box.addEventListener('change', () => document.getElementById(box.dataset.intervals).classList.toggle('all', box.checked));
}

function filterGallery(controls) {
  const chosen = all('select', controls).filter(select => select.value);
  const frames = all(`#${controls.dataset.gallery} > li`);
  for (const frame of frames) {
    frame.hidden = !chosen.every(select => frame.dataset[select.dataset.by].split('|').includes(select.value));
  }
  controls.querySelector('[role=status]').textContent =
    `${frames.filter(frame => !frame.hidden).length} of ${frames.length} frames`;
}
for (const controls of all('[data-gallery]')) {
  controls.addEventListener('change', () => filterGallery(controls));
  filterGallery(controls);
}

// Figures: colours follow the page, methods are hidden by the same boxes as in the tables.
const dark = matchMedia('(prefers-color-scheme: dark)');
function look(print) {
  const night = dark.matches && !print;
  const ink = night ? '#e6e9ed' : '#1b1f24', line = night ? '#3a424b' : '#d0d7de';
  return {ink, line, ground: night ? '#1f242a' : '#ffffff'};
}
function dressed(layout, print) {
  const {ink, line, ground} = look(print);
  const made = {...layout, paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', font: {color: ink, size: 13},
    legend: {orientation: 'h', yanchor: 'top', y: -0.24, itemclick: false, itemdoubleclick: false},
    margin: {l: 60, r: 15, t: 40, b: 60}, dragmode: false, hoverlabel: {bgcolor: ground, font: {color: ink}}};
  for (const key of Object.keys(layout).filter(name => /^[xy]axis\d*$/.test(name))) {
    made[key] = {...layout[key], gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true};
  }
  return made;
}
function drawPlots(print = false) {
  if (!window.Plotly) return;
  for (const place of all('.plot')) {
    const spec = JSON.parse(document.getElementById(place.dataset.spec).textContent);
    const part = place.closest('[data-part]').dataset.part;
    for (const trace of spec.data) {
      if (trace.meta !== undefined && hiddenMethods.has(`${part}-${trace.meta}`)) trace.visible = false;
    }
    if (spec.layout.height) place.style.minHeight = `${spec.layout.height}px`;
    Plotly.react(place, spec.data, dressed(spec.layout, print), {responsive: true, displayModeBar: false});
  }
}
for (const box of all('[data-show]')) {
  box.addEventListener('change', () => {
    hiddenMethods[box.checked ? 'delete' : 'add'](box.dataset.show);
    all('table.figures').forEach(filterTable);
    all('[data-method]').filter(node => !node.matches('tr.row')).forEach(node => {
      node.hidden = hiddenMethods.has(node.dataset.method);
    });
    drawPlots();
  });
}
dark.addEventListener('change', () => drawPlots());
// Paper unfolds the tables, and has a light ground.
let unfolded = [];
addEventListener('beforeprint', () => {
  unfolded = all('details.printed:not([open])');
  unfolded.forEach(details => { details.open = true; });
  drawPlots(true);
});
addEventListener('afterprint', () => {
  unfolded.forEach(details => { details.open = false; });
  drawPlots();
});
drawPlots();
