// The image on its canvas: fitted, zoomed around a point, with what a page draws over it.

import { sized } from "./paint.js";

const STEP = 1.5;
const MOST = 24;
const MARGIN = 12;

/** Shows one image in an element, as large as fits. */
export class Stage {
  /**
   * @param {HTMLElement} holder What the canvas fills.
   * @param {(context: CanvasRenderingContext2D, stage: Stage) => void} over Draws over the image, in CSS pixels.
   */
  constructor(holder, over) {
    this.holder = holder;
    this.over = over;
    this.canvas = holder.querySelector("canvas");
    this.bitmap = null;
    this.point = null;
    this.hold = null; // where on the screen the point stays when zooming; null = the middle
    this.zoom = 1;
    this.scale = 1;
    this.left = 0;
    this.top = 0;
    this.beforeWheel = () => {};
    new ResizeObserver(() => this.draw()).observe(holder);
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.beforeWheel(event);
      this.zoomBy(event.deltaY < 0 ? 1 : -1);
    }, { passive: false });
  }

  /**
   * Show an image.
   *
   * @param {ImageBitmap|null} bitmap
   * @param {{x: number, y: number}|null} point The pixel that zooming keeps in the middle.
   */
  show(bitmap, point) {
    this.bitmap = bitmap;
    this.point = point;
    this.draw();
  }

  /** Zoom a step in (1) or out (-1); 0 = the whole image. */
  zoomBy(step) {
    this.zoom = step === 0 ? 1 : Math.min(MOST, Math.max(1, this.zoom * STEP ** step));
    this.draw();
  }

  /** Image coordinates (0, 0 = the corner) to CSS pixels of the canvas. */
  toScreen(x, y) {
    return [this.left + x * this.scale, this.top + y * this.scale];
  }

  /** The other way, not clamped. */
  toImage(x, y) {
    return [(x - this.left) / this.scale, (y - this.top) / this.scale];
  }

  /** Where a pointer event is, in image coordinates. */
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return this.toImage(event.clientX - box.left, event.clientY - box.top);
  }

  /** Zoom around a place from now on, which stays where it is on the screen. */
  around(x, y) {
    this.point = { x: x - 0.5, y: y - 0.5 };
    this.hold = this.toScreen(x, y);
  }

  draw() {
    const [width, height] = [this.holder.clientWidth, this.holder.clientHeight];
    const context = sized(this.canvas, width, height);
    context.clearRect(0, 0, width, height);
    if (!this.bitmap || width === 0 || height === 0) return;
    this.#place(width, height);
    // Small images are enlarged smoothly: shapes are recognised better than as blocks; the inset shows the pixels.
    context.imageSmoothingEnabled = this.zoom < 4;
    context.imageSmoothingQuality = this.scale < 1 ? "high" : "low";
    context.drawImage(this.bitmap, this.left, this.top, this.bitmap.width * this.scale, this.bitmap.height * this.scale);
    this.over(context, this);
  }

  #place(width, height) {
    const { width: w, height: h } = this.bitmap;
    const fit = Math.min((width - MARGIN) / w, (height - MARGIN) / h);
    this.scale = fit * this.zoom;
    const middle = this.point ?? { x: w / 2 - 0.5, y: h / 2 - 0.5 };
    this.left = offset(width, w * this.scale, (middle.x + 0.5) * this.scale, this.hold?.[0] ?? width / 2);
    this.top = offset(height, h * this.scale, (middle.y + 0.5) * this.scale, this.hold?.[1] ?? height / 2);
  }
}

/** Where an image begins so that a place in it is where it is wanted, but no empty border is shown. */
function offset(room, length, place, wanted) {
  if (length <= room - MARGIN) return (room - length) / 2;
  return Math.min(MARGIN / 2, Math.max(room - length - MARGIN / 2, wanted - place));
}
