// Whole per cents, one per class, that always sum to 100.

/** The shares of one image. What a class gains is taken from the class changed longest ago, and given back to it. */
export class Shares {
  /** @param {number} classes How many. @param {number[]|null} values Shares to begin with. */
  constructor(classes, values = null) {
    this.touched = values !== null;
    this.values = values ? toWhole(values) : toWhole(Array(classes).fill(1 / classes));
    this.order = this.values.map((_, index) => index); // changed longest ago first
  }

  /** Set a class's share; the others follow. Returns what it became, 0..100. */
  set(index, value) {
    const wanted = Math.min(100, Math.max(0, Math.round(value)));
    let change = wanted - this.values[index];
    const others = this.order.filter((other) => other !== index);
    if (others.length === 0) return this.values[index];
    if (change > 0) {
      for (const other of others) {
        const taken = Math.min(change, this.values[other]);
        this.values[other] -= taken;
        this.values[index] += taken;
        change -= taken;
      }
    } else if (change < 0) {
      const heir = others.find((other) => this.values[other] > 0) ?? others[0];
      this.values[heir] -= change;
      this.values[index] += change;
    }
    this.order = [...others, index];
    this.touched = true;
    return this.values[index];
  }

  /** The whole image is one class. */
  fill(index) {
    return this.set(index, 100);
  }

  /** Fractions that sum to 1. */
  fractions() {
    return this.values.map((value) => value / 100);
  }
}

/** Fractions to whole per cents with the sum 100: the largest remainders are rounded up. */
export function toWhole(fractions) {
  const sum = fractions.reduce((total, value) => total + value, 0) || 1;
  const exact = fractions.map((value) => (100 * value) / sum);
  const whole = exact.map(Math.floor);
  const left = 100 - whole.reduce((total, value) => total + value, 0);
  const byRemainder = exact.map((value, index) => [whole[index] - value, index]).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  for (const [, index] of byRemainder.slice(0, left)) whole[index] += 1;
  return whole;
}
