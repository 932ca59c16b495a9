// Lines over time, by uPlot. It draws on a canvas, so that colours are read from the style sheet.
import { clock, html, short, useEffect, useRef, useState } from "./parts.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const POWERS = [0.1, 1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7];

/** The colours of lines, as names of custom properties. */
export const LINES = ["--line-1", "--line-2", "--line-3", "--line-4", "--line-5"];

/**
 * `x` and for each of `lines` its `values`; `time`: `x` are seconds since 1970. `label` describes the picture to those
 * who do not see it. `show` gets the index of the point under the pointer, or null.
 */
export function Lines({ x, lines, time, unit = short, label, height = 240, log, show }) {
  const box = useRef(null);
  const chart = useRef(null);
  const [theme, setTheme] = useState(dark.matches);
  const latest = useRef(null);
  latest.current = { x, lines, unit, show };
  const signature = JSON.stringify([lines.map((line) => [line.label, line.color, line.dash]), time, theme, x.length > 60]);

  useEffect(() => {
    const change = () => setTheme(dark.matches);
    dark.addEventListener("change", change);
    return () => dark.removeEventListener("change", change);
  }, []);

  useEffect(() => {
    const { lines, x } = latest.current;
    const font = `11px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { stroke: color("--muted"), font, grid: { stroke: color("--grid"), width: 1 }, ticks: { show: false } };
    const made = new window.uPlot({
      width: Math.max(120, box.current.clientWidth),
      height,
      legend: { show: false },
      cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false } },
      scales: { x: { time, range: (_, min, max) => (time === true ? [Math.min(min, max - 60), max] : min === max ? [min - 1, max + 1] : [min, max]) }, y: log ? { distr: 3 } : { range: (_, min, max) => [Math.min(0, min ?? 0), Math.max(max ?? 0, 1e-9) * 1.08] } },
      tzDate: time === "utc" ? (at) => window.uPlot.tzDate(new Date(at * 1000), "UTC") : undefined,
      axes: [
        { ...axis, size: 28, grid: { show: false }, ...(time ? { space: 80, values: time === "utc" ? undefined : (_, at) => at.map((moment) => clock(new Date(moment * 1000))) } : { incrs: [1, 2, 5, 10, 20, 50, 100, 1000], values: (_, at) => at.map(String) }) },
        { ...axis, size: 56, ...(log ? { splits: (_, __, min, max) => POWERS.filter((power) => power >= min && power <= max) } : {}), values: (_, at) => at.map((value) => (value === null ? "" : latest.current.unit(value))) },
      ],
      series: [{}, ...lines.map((line, index) => ({
        label: line.label, stroke: color(line.color ?? LINES[index]), width: line.width ?? 2, dash: line.dash, spanGaps: !time || time === "utc",
        points: { show: !time && x.length <= 60, size: 5 },
      }))],
      hooks: { setCursor: [(plot) => latest.current.show?.(plot.cursor.idx ?? null)] },
    }, [x, ...lines.map((line) => line.values)], box.current);
    chart.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: Math.max(120, box.current?.clientWidth ?? 120), height }));
    observer.observe(box.current);
    return () => {
      observer.disconnect();
      made.destroy();
      chart.current = null;
    };
  }, [signature, height]);

  useEffect(() => chart.current?.setData([x, ...lines.map((line) => line.values)]));

  return html`<div class="lines" ref=${box} role="img" aria-label=${label} style=${{ height: `${height}px` }}></div>`;
}
