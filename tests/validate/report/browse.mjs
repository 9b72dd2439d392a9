// Opens a file in a real Chromium as people will: on a desk, on a phone, at night and on paper; and says what it saw.
//
//     worker.call(Path("tests/validate/browse.mjs"), "look", {file, program}, log, limit_s)

import { chromium } from "playwright-core";

const SCREENS = {
  desk: { viewport: { width: 1280, height: 900 } },
  phone: { viewport: { width: 375, height: 812 }, isMobile: true },
  night: { viewport: { width: 1280, height: 900 }, colorScheme: "dark" },
};

export async function look({ file, program }) {
  const browser = await chromium.launch({ executablePath: program, args: ["--no-sandbox", "--disable-gpu"] });
  try {
    const found = { requests: [], complaints: [] };
    for (const [name, options] of Object.entries(SCREENS)) {
      const page = await (await browser.newContext(options)).newPage();
      page.on("request", (request) => found.requests.push(request.url()));
      page.on("console", (message) => found.complaints.push(`${name}: ${message.text()}`));
      page.on("pageerror", (error) => found.complaints.push(`${name}: ${error.message}`));
      await page.goto(`file://${file}`);
      found[name] = await page.evaluate(seen);
      if (name === "desk") {
        await page.emulateMedia({ media: "print" });
        await page.setViewportSize({ width: 703, height: 1000 }); // A4 less its margins
        found.paper = await page.evaluate(seen);
        found.pdf = (await page.pdf({ format: "A4" })).length;
      }
    }
    return found;
  } finally {
    await browser.close();
  }
}

/** In the page: how wide it is, what it is coloured, what is hard to read, and what tells its content. */
function seen() {
  const channels = (color) => color.match(/[\d.]+/g).map(Number);
  const luminance = ([r, g, b]) =>
    [r, g, b]
      .map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
      .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const [r, g, b, alpha = 1] = channels(getComputedStyle(one).backgroundColor);
      if (alpha > 0) return [r, g, b];
    }
    return [255, 255, 255];
  };
  // https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio
  const contrast = (element) => {
    const style = getComputedStyle(element);
    const ink = luminance(channels(element instanceof SVGElement ? style.fill : style.color));
    const paper = luminance(behind(element));
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  };
  const told = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const texts = [...document.body.querySelectorAll("*")].filter((one) => told(one) && one.tagName !== "title");
  const shown = texts.filter((one) => one.getClientRects().length);
  const faint = shown.map((one) => [contrast(one), one]).sort(([a], [b]) => a - b)[0];
  return {
    width: document.documentElement.scrollWidth,
    back: getComputedStyle(document.body).backgroundColor,
    contrast: faint[0],
    faintest: `${faint[1].tagName} ${faint[1].textContent.slice(0, 60)}`,
    verdict: document.querySelector(".verdict").innerText,
    rows: document.querySelectorAll(".rows tbody tr").length,
    details: [...document.querySelectorAll("details.row summary strong")].map((one) => one.innerText.trim()),
    open: document.querySelectorAll("details.row[open]").length,
    images: [...document.images].filter((one) => one.naturalWidth > 0).length,
    scripts: document.scripts.length,
    links: getComputedStyle(document.querySelector("nav")).display,
  };
}
