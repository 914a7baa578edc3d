// Two songs on one clock: both play all the time, one is audible, so switching has no gap.
// Works on any BaseAudioContext with buffers in it; knows nothing of the page.

const FADE = 0.012; // seconds of the cross-fade between the songs
const LEAD = 0.03; // seconds from the call of play() to the first sample

export class Player {
  constructor(context, buffers, heard = [[], []]) {
    this.context = context;
    this.buffers = buffers;
    this.heard = heard; // per song: sorted, disjoint [from, to] in seconds
    this.active = 0;
    this.playing = false;
    this.onend = () => {};
    this.offset = 0;
    this.gains = buffers.map((_, song) => {
      const gain = context.createGain();
      gain.gain.value = song === this.active ? 1 : 0;
      gain.connect(context.destination);
      return gain;
    });
    this.sources = [];
  }

  get length() {
    return this.buffers[this.active].duration;
  }

  get longest() {
    return Math.max(...this.buffers.map((buffer) => buffer.duration));
  }

  // Seconds into the songs, the same for both.
  get position() {
    if (!this.playing) return this.offset;
    return Math.max(this.offset, this.offset + this.context.currentTime - this.started);
  }

  get ended() {
    return this.position >= this.length - 1e-3;
  }

  play() {
    if (this.playing || this.ended) return;
    this.started = this.context.currentTime + LEAD;
    this.from = this.offset;
    this.playing = true;
    this.sources = this.buffers.map((buffer, song) => {
      const source = this.context.createBufferSource();
      source.buffer = buffer;
      source.connect(this.gains[song]);
      if (this.offset < buffer.duration) source.start(this.started, this.offset);
      return source;
    });
  }

  pause() {
    if (!this.playing) return;
    const position = Math.min(this.position, this.longest);
    this.note();
    this.playing = false;
    this.offset = position;
    for (const source of this.sources) source.disconnect();
    this.sources = [];
  }

  seek(position) {
    const again = this.playing;
    this.pause();
    this.offset = Math.min(Math.max(0, position), this.longest);
    if (again) this.play();
  }

  select(song) {
    if (song === this.active) return;
    this.note();
    this.active = song;
    const now = this.context.currentTime;
    this.gains.forEach((gain, other) => {
      const level = gain.gain.value;
      gain.gain.cancelScheduledValues(now);
      gain.gain.setValueAtTime(level, now);
      gain.gain.linearRampToValueAtTime(other === song ? 1 : 0, now + FADE);
    });
  }

  // To be called now and then while playing: counts what was heard, stops at the end of the song.
  tick() {
    if (!this.playing) return;
    this.note();
    if (this.ended) {
      this.pause();
      this.offset = Math.min(this.offset, this.length);
      this.onend();
    }
  }

  // Add what was audible since the last note to what was heard of the active song.
  note() {
    if (!this.playing) return;
    const to = Math.min(this.position, this.length);
    if (to > this.from) this.heard[this.active] = merged(this.heard[this.active], [this.from, to]);
    this.from = this.position;
  }

  secondsHeard(song) {
    return this.heard[song].reduce((sum, [from, to]) => sum + to - from, 0);
  }

  // Where the first part begins that was not heard yet, or null.
  firstGap(song) {
    const end = this.buffers[song].duration;
    const [first] = this.heard[song];
    const gap = first && first[0] < 0.1 ? first[1] : 0;
    return gap < end - 0.1 ? gap : null;
  }
}

// Sorted, disjoint ranges with one more added; gaps below a twentieth of a second are closed.
export function merged(ranges, added) {
  const sorted = [...ranges, added].sort((a, b) => a[0] - b[0]);
  const result = [];
  for (const [from, to] of sorted) {
    const last = result[result.length - 1];
    if (last && from <= last[1] + 0.05) last[1] = Math.max(last[1], to);
    else result.push([from, to]);
  }
  return result;
}
