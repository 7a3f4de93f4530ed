// Polygons being drawn, with every step undone one by one. Points are [x, y] in image coordinates, (0, 0) = the corner.

/** What has been drawn on one image. */
export class Drawing {
  /** @param {{width: number, height: number}} size What points are kept within. @param {object[]} polygons To begin with. */
  constructor(size, polygons = []) {
    this.size = size;
    this.polygons = structuredClone(polygons);
    this.open = null;
    this.past = [];
    this.ahead = [];
  }

  /** Add a vertex to the open polygon, or begin one. */
  add(classId, x, y) {
    this.#keep();
    this.open ??= { class: classId, points: [], holes: [] };
    this.open.points.push(this.#within(x, y));
  }

  /** Add a line drawn in one go. */
  stroke(classId, points) {
    this.#keep();
    this.open ??= { class: classId, points: [], holes: [] };
    this.open.points.push(...points.map(([x, y]) => this.#within(x, y)));
  }

  /** Close the open polygon. False where it has fewer than 3 different points: it stays open. */
  close() {
    if (!this.open || new Set(this.open.points.map(String)).size < 3) return false;
    this.#keep();
    this.polygons.push(this.open);
    this.open = null;
    return true;
  }

  /** Drop the open polygon. */
  drop() {
    if (!this.open) return false;
    this.#keep();
    this.open = null;
    return true;
  }

  /** A vertex is about to be moved: all of the movement is one step. */
  grab() {
    this.#keep();
  }

  /** Move a vertex; after {@link grab}. */
  move(ref, x, y) {
    this.#points(ref)[ref.vertex] = this.#within(x, y);
  }

  /** Remove a polygon. */
  remove(index) {
    this.#keep();
    this.polygons.splice(index, 1);
  }

  /** Give the open polygon another class. */
  reclass(classId) {
    if (!this.open || this.open.class === classId) return;
    this.#keep();
    this.open.class = classId;
  }

  /** Take a step back; false where there is none. */
  undo() {
    return this.#turn(this.past, this.ahead);
  }

  /** Take the step again. */
  redo() {
    return this.#turn(this.ahead, this.past);
  }

  /** All vertices that can be moved, polygon by polygon, the open one last: {polygon, vertex, class, point}. */
  corners() {
    const all = this.polygons.map((one, polygon) => [one, polygon]);
    if (this.open) all.push([this.open, -1]);
    return all.flatMap(([one, polygon]) => one.points.map((point, vertex) => ({ polygon, vertex, class: one.class, point })));
  }

  /** The nearest vertex within a distance, of equally near ones the open polygon's (-1): {polygon, vertex, point}. */
  vertexAt(x, y, distance) {
    let best = null;
    const look = (points, polygon) => {
      points.forEach((point, vertex) => {
        const far = Math.hypot(point[0] - x, point[1] - y);
        if (far <= distance && (!best || far < best.far)) best = { polygon, vertex, point, far };
      });
    };
    if (this.open) look(this.open.points, -1);
    this.polygons.forEach((polygon, index) => look(polygon.points, index));
    return best;
  }

  #points(ref) {
    return ref.polygon < 0 ? this.open.points : this.polygons[ref.polygon].points;
  }

  #within(x, y) {
    const round = (value, most) => Math.round(Math.min(most, Math.max(0, value)) * 10) / 10;
    return [round(x, this.size.width), round(y, this.size.height)];
  }

  #keep() {
    this.past.push(this.#state());
    this.ahead = [];
  }

  #state() {
    return structuredClone({ polygons: this.polygons, open: this.open });
  }

  #turn(from, to) {
    const state = from.pop();
    if (!state) return false;
    to.push(this.#state());
    Object.assign(this, state);
    return true;
  }
}

/** A drawn line with fewer points: none is farther than `tolerance` from it (Douglas and Peucker). */
export function simplify(points, tolerance) {
  if (points.length < 3) return points;
  const [first, last] = [points[0], points[points.length - 1]];
  let [farthest, distance] = [0, 0];
  for (let at = 1; at < points.length - 1; at += 1) {
    const far = fromLine(points[at], first, last);
    if (far > distance) [farthest, distance] = [at, far];
  }
  if (distance <= tolerance) return [first, last];
  return [...simplify(points.slice(0, farthest + 1), tolerance).slice(0, -1), ...simplify(points.slice(farthest), tolerance)];
}

function fromLine([x, y], [x0, y0], [x1, y1]) {
  const length = Math.hypot(x1 - x0, y1 - y0);
  if (length === 0) return Math.hypot(x - x0, y - y0);
  return Math.abs((x1 - x0) * (y0 - y) - (x0 - x) * (y1 - y0)) / length;
}
