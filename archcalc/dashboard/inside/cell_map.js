// A heat map on a canvas: blue above zero, orange below, a frame where there is no value. A click chooses a cell.
const FONT = '12px ui-monospace, "DejaVu Sans Mono", "Noto Sans CJK SC", monospace';
const HEIGHT = 20, LABEL_WIDTH = 64, MIN_WIDTH = 14, MAX_WIDTH = 84, LONGEST = 150;
const PLUS = { light: "0, 114, 178", dark: "86, 180, 233" }, MINUS = { light: "213, 94, 0", dark: "230, 140, 60" };

function prepared(canvas, width, height) {
  const ratio = devicePixelRatio || 1, paint = canvas.getContext("2d");
  Object.assign(canvas, { width: Math.ceil(width * ratio), height: Math.ceil(height * ratio) });
  Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  paint.setTransform(ratio, 0, 0, ratio, 0, 0);
  Object.assign(paint, { font: FONT, textBaseline: "middle" });
  return paint;
}

function clipped(paint, text, width) {
  while (text && paint.measureText(text).width > width) text = text.slice(0, -1);
  return text;
}

function geometry(root, data) {
  const paint = root.querySelector(".names canvas").getContext("2d");
  paint.font = FONT;
  const longest = texts => Math.min(LONGEST, Math.max(...texts.map(text => paint.measureText(text).width)));
  const left = longest(data.rows) + 12, free = root.querySelector(".frame").clientWidth - left - 4;
  const least = data.labels ? LABEL_WIDTH : MIN_WIDTH;
  const width = Math.max(least, Math.min(MAX_WIDTH, Math.floor(free / data.columns.length)));
  const name = longest(data.columns), isSlanted = name + 6 > width;
  return { left, width, isSlanted, top: isSlanted ? name + 10 : 22 };
}

function drawNames(root, data, { left, top }, ink) {
  const paint = prepared(root.querySelector(".names canvas"), left, top + HEIGHT * data.rows.length);
  Object.assign(paint, { fillStyle: ink, textAlign: "right" });
  data.rows.forEach((row, y) => paint.fillText(clipped(paint, row, LONGEST), left - 6, top + (y + 0.5) * HEIGHT));
}

function drawColumns(paint, data, { width, top, isSlanted }, ink) {
  paint.fillStyle = ink;
  data.columns.forEach((column, x) => {
    paint.save();
    paint.translate((x + 0.5) * width, top - 6);
    if (isSlanted) paint.rotate(-Math.PI / 2);
    paint.textAlign = isSlanted ? "left" : "center";
    paint.fillText(clipped(paint, column, isSlanted ? LONGEST : width), 0, isSlanted ? 0 : -4);
    paint.restore();
  });
}

function drawCells(paint, data, { width, top }, ink, theme) {
  paint.textAlign = "center";
  data.values.forEach((row, y) => row.forEach((value, x) => {
    const at = [x * width + 0.5, top + y * HEIGHT + 0.5, width - 1, HEIGHT - 1];
    if (value === null) {
      Object.assign(paint, { strokeStyle: "#8884" });
      paint.strokeRect(...at);
      return;
    }
    const share = Math.min(1, Math.abs(value) / data.largest);
    paint.fillStyle = `rgba(${(value < 0 ? MINUS : PLUS)[theme]}, ${(0.04 + 0.66 * share).toFixed(3)})`;
    paint.fillRect(...at);
    const label = data.labels?.[y][x] ?? (width > 44 ? value.toFixed(2) : "");
    paint.fillStyle = ink;
    if (label) paint.fillText(clipped(paint, label, width - 4), at[0] + width / 2, at[1] + HEIGHT / 2);
  }));
}

export default function ({ data, parentElement: root, setTriggerValue }) {
  const area = root.querySelector(".area"), cells = area.querySelector("canvas"), mark = root.querySelector(".chosen");
  const style = getComputedStyle(root.host ?? root), ink = style.getPropertyValue("--st-text-color") || "#31333f";
  const theme = data.isDark ? "dark" : "light";
  let chosen = [data.row, data.column], place;

  const frame = () => Object.assign(mark.style, {
    left: `${chosen[1] * place.width}px`, top: `${place.top + chosen[0] * HEIGHT}px`,
    width: `${place.width}px`, height: `${HEIGHT}px`, boxSizing: "border-box",
  });
  const draw = () => {
    place = geometry(root, data);
    drawNames(root, data, place, ink);
    const paint = prepared(cells, place.width * data.columns.length + 1, place.top + HEIGHT * data.rows.length + 1);
    drawColumns(paint, data, place, ink);
    drawCells(paint, data, place, ink, theme);
    Object.assign(area.dataset, { top: place.top, width: place.width, height: HEIGHT });
    area.setAttribute("aria-label", data.title);
    frame();
  };
  const choose = (row, column) => {
    if (!(row in data.rows && column in data.columns)) return;
    chosen = [row, column];
    frame();
    setTriggerValue("cell", chosen);
  };
  const cellAt = event => [Math.floor((event.offsetY - place.top) / HEIGHT), Math.floor(event.offsetX / place.width)];

  draw();
  cells.onclick = event => { area.focus({ preventScroll: true }); choose(...cellAt(event)); };
  cells.onmousemove = event => {
    const [row, column] = cellAt(event), value = data.values[row]?.[column];
    const told = value === null ? data.none : data.labels?.[row][column] ?? "";
    cells.title = value === undefined ? "" : [data.rows[row], data.columns[column], told, value ?? ""].filter(part => part !== "").join(" · ");
  };
  area.onkeydown = event => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    choose(chosen[0] + step[0], chosen[1] + step[1]);
  };
  let width = root.querySelector(".frame").clientWidth;
  const resized = new ResizeObserver(([entry]) => {
    if (Math.abs(entry.contentRect.width - width) > 1) { width = entry.contentRect.width; draw(); }
  });
  resized.observe(root.querySelector(".frame"));
  return () => resized.disconnect();
}
