// What is drawn on canvases: patterns of classes, the marker of the asked pixel, dots, the magnified inset.

export const RED = "#e0142c";
const PATTERNS = 8;
const TILE = 8;

/** Black or white, whichever is read better on a colour "#RRGGBB". */
export function inkOn(color) {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const part = parseInt(color.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
}

/** A canvas's 2D context, sized for the screen's pixels; unit = CSS pixel. */
export function sized(canvas, width, height) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

/** The lines of a class's pattern over an area, in the ink that is read on its colour. */
export function hatch(context, index, color, x, y, width, height, alpha = 0.55) {
  const kind = index % PATTERNS;
  if (kind === 0) return;
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.globalAlpha *= alpha;
  context.strokeStyle = context.fillStyle = inkOn(color);
  context.lineWidth = 1.5;
  context.beginPath();
  const [left, top] = [Math.floor(x / TILE) * TILE, Math.floor(y / TILE) * TILE];
  for (let v = top - TILE; v < y + height + TILE; v += TILE) {
    for (let u = left - TILE; u < x + width + TILE; u += TILE) {
      if (kind === 1 || kind === 5) lineTo(context, u, v + TILE, u + TILE, v);
      if (kind === 2 || kind === 7) context.rect(u + TILE / 2 - 1, v + TILE / 2 - 1, 2, 2);
      if (kind === 3 || kind === 7) lineTo(context, u, v, u + TILE, v);
      if (kind === 4 || kind === 5) lineTo(context, u, v, u + TILE, v + TILE);
      if (kind === 6) lineTo(context, u + TILE / 2, v, u + TILE / 2, v + TILE);
    }
  }
  context.stroke();
  context.restore();
}

function lineTo(context, x0, y0, x1, y1) {
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
}

/** A rectangle of a class: colour and pattern. */
export function fillClass(context, index, color, x, y, width, height) {
  context.fillStyle = color;
  context.fillRect(x, y, width, height);
  hatch(context, index, color, x, y, width, height);
}

/**
 * The asked pixel: a red ring between white and black, open in the middle, seen on every background.
 *
 * @param {number} side The pixel's side on the screen; from 8 on it gets a box of its own.
 */
export function drawMarker(context, x, y, side) {
  const radius = Math.max(11, side * 0.9 + 6);
  context.save();
  context.lineCap = "butt";
  const ring = () => {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    for (let arm = 0; arm < 4; arm += 1) {
      const [dx, dy] = [[1, 0], [0, 1], [-1, 0], [0, -1]][arm];
      lineTo(context, x + dx * radius, y + dy * radius, x + dx * (radius + 7), y + dy * (radius + 7));
    }
    context.stroke();
  };
  for (const [color, width] of [["#000000", 7], ["#ffffff", 5], [RED, 2.5]]) {
    context.strokeStyle = color;
    context.lineWidth = width;
    ring();
  }
  if (side >= 8) drawBox(context, x - side / 2, y - side / 2, side);
  else {
    context.fillStyle = RED;
    const dot = Math.max(2, side);
    context.fillRect(x - dot / 2, y - dot / 2, dot, dot);
  }
  context.restore();
}

function drawBox(context, x, y, side) {
  for (const [color, width, out] of [["#000000", 1, 2.5], ["#ffffff", 1, 1.5], [RED, 2, 0]]) {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.strokeRect(x - out, y - out, side + 2 * out, side + 2 * out);
  }
}

/** An earlier answer: a small dot in the class's colour with its letter. */
export function drawDot(context, x, y, color, letter) {
  context.save();
  for (const [fill, radius] of [["#000000", 7.5], ["#ffffff", 6.5], [color, 5.5]]) {
    context.fillStyle = fill;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fill();
  }
  context.fillStyle = inkOn(color);
  context.font = "bold 8px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(letter, x, y + 0.5);
  context.restore();
}

/**
 * The inset: the surroundings of the asked pixel, pixel by pixel.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {ImageBitmap} bitmap
 * @param {{x: number, y: number}} point
 * @param {number} across Pixels of the image from side to side.
 * @param {ImageBitmap|null} outline Drawn over it, of the same size.
 */
export function drawInset(canvas, bitmap, point, across, outline = null) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const context = sized(canvas, width, height);
  const side = Math.max(width, height) / across;
  context.clearRect(0, 0, width, height);
  context.imageSmoothingEnabled = false;
  const [left, top] = [width / 2 - (point.x + 0.5) * side, height / 2 - (point.y + 0.5) * side];
  context.drawImage(bitmap, left, top, bitmap.width * side, bitmap.height * side);
  if (outline) context.drawImage(outline, left, top, bitmap.width * side, bitmap.height * side);
  else drawBox(context, width / 2 - side / 2, height / 2 - side / 2, side);
}

/**
 * An area: filled with the class's colour and pattern where it is closed, else its outline so far.
 *
 * @param {number[][][]} rings The outline and holes, in CSS pixels.
 */
export function drawPolygon(context, rings, one, closed) {
  const path = new Path2D();
  for (const ring of rings) {
    ring.forEach(([x, y], at) => (at ? path.lineTo(x, y) : path.moveTo(x, y)));
    if (closed) path.closePath();
  }
  context.save();
  context.lineJoin = "round";
  if (closed) {
    context.save();
    context.clip(path, "evenodd");
    const [left, top, right, bottom] = bounds(rings[0]);
    context.globalAlpha = 0.35;
    context.fillStyle = one.color;
    context.fillRect(left, top, right - left, bottom - top);
    context.globalAlpha = 0.8;
    hatch(context, one.index, one.color, left, top, right - left, bottom - top);
    context.restore();
  }
  for (const [color, width] of [["#000000", 4], ["#ffffff", 3], [one.color, 2]]) {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.stroke(path);
  }
  context.restore();
}

function bounds(ring) {
  const [xs, ys] = [ring.map(([x]) => x), ring.map(([, y]) => y)];
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

/** A corner that can be grabbed. */
export function drawCorner(context, x, y, radius) {
  for (const [color, size] of [["#000000", radius + 1], ["#ffffff", radius]]) {
    context.fillStyle = color;
    context.beginPath();
    context.arc(x, y, size, 0, 2 * Math.PI);
    context.fill();
  }
}

/** The keyboard's cross. */
export function drawCross(context, x, y) {
  for (const [color, width] of [["#000000", 4], ["#ffffff", 2]]) {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.beginPath();
    lineTo(context, x - 12, y, x + 12, y);
    lineTo(context, x, y - 12, x, y + 12);
    context.stroke();
  }
}
